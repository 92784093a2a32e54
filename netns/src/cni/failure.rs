//! What an engine is told when something fails: CNI's error object (specification 1.1, section 5).

use serde_json::{Value, json};
use stage::Explained;

/// What went wrong, by CNI's codes: 1 version, 2 unsupported field, 3 unknown container, 4 environment, 5 I/O,
/// 6 decoding, 7 configuration, 100 and above the plugin's own.
#[derive(Debug)]
pub struct Failure {
    code: u32,
    msg: String,
    details: String,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(code: u32, msg: impl Into<String>) -> Failure {
        Failure { code, msg: msg.into(), details: String::new() }
    }

    pub fn details(self, details: impl Into<String>) -> Failure {
        Failure { details: details.into(), ..self }
    }

    /// The same, in the course of something.
    pub fn within(self, what: &str) -> Failure {
        Failure { msg: format!("{what}: {}", self.msg), ..self }
    }

    /// A failure of the work itself; the kernel's words and the remedy are the details.
    pub fn own(error: &anyhow::Error) -> Failure {
        let known = Explained::of(error);
        let words = known.map(|known| [known.kernel.clone(), known.hint.clone()]);
        let details: Vec<String> = words.into_iter().flatten().flatten().collect();
        Failure::new(100, format!("{error:#}")).details(details.join("; "))
    }

    pub fn as_json(&self, version: &str) -> Value {
        let mut object = json!({"cniVersion": version, "code": self.code, "msg": self.msg});
        if !self.details.is_empty() {
            object["details"] = self.details.clone().into();
        }
        object
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::own(&error)
    }
}
