//! A result in the form of the version that was asked for.
//!
//! Pure.

use serde_json::{Value, json};

use crate::section::Network;

/// The section as a result: without what is ours, with the configuration's name servers.
pub fn result(network: &Network, version: &str, dns: Option<&Value>) -> Value {
    let mut result = serde_json::to_value(network).unwrap_or_default();
    if let Some(object) = result.as_object_mut() {
        object.remove("netns");
        object.remove("portMappings");
        object.insert("dns".to_owned(), dns.cloned().unwrap_or_else(|| json!({})));
    }
    in_version(result, version)
}

/// A result of 1.1 in the words of an older version: before 1.1 an interface has no MTU, before 1.0 an address says of
/// which family it is.
pub fn in_version(mut result: Value, version: &str) -> Value {
    result["cniVersion"] = version.into();
    if version != "1.1.0" {
        for interface in result.get_mut("interfaces").and_then(Value::as_array_mut).into_iter().flatten() {
            interface.as_object_mut().map(|interface| interface.remove("mtu"));
        }
    }
    if version.starts_with("0.") {
        for ip in result.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_v6 = ip["address"].as_str().is_some_and(|address| address.contains(':'));
            ip["version"] = if is_v6 { "6" } else { "4" }.into();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_have_their_own_words() {
        let new = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mtu": 1500}], "ips": [{"address": "10.0.0.2/8"}]});
        assert_eq!(in_version(new.clone(), "1.1.0"), new);
        let old = in_version(new, "0.4.0");
        assert_eq!(old["interfaces"], json!([{"name": "eth0"}]));
        assert_eq!(old["ips"][0]["version"], "4");
    }
}
