//! Which credentials are used for a repository, and why those.

use anyhow::Result;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;

use super::{Credentials, helper, stored};
use crate::registry::failure::shown;
use stored::{Entry, LoginFile};

/// What is shown to a registry or to its token server.
#[derive(Clone, Debug)]
pub struct Login {
    credentials: Option<Credentials>,
    /// Where was looked, in order, a line each, without any secret.
    pub explanation: Vec<String>,
}

impl Login {
    /// Those of the command line.
    pub fn given(credentials: &Credentials) -> Login {
        let explanation = vec![format!("auth: --creds: {}", credentials.whose())];
        Login { credentials: Some(credentials.clone()), explanation }
    }

    /// Those that are stored on this machine for a repository (`domain/path`), by the first file that has any.
    pub fn stored(repository: &str) -> Result<Login> {
        let mut login = Login { credentials: None, explanation: vec![format!("auth: for {repository}:")] };
        for place in stored::places() {
            let Some(file) = LoginFile::read(&place)? else {
                login.explain(&place, "is not there");
                continue;
            };
            login.look_into(&file, repository)?;
            if login.credentials.is_some() {
                return Ok(login);
            }
        }
        login.explanation.push("auth: no credentials: asking as anybody".to_owned());
        Ok(login)
    }

    fn look_into(&mut self, file: &LoginFile, repository: &str) -> Result<()> {
        let domain = repository.split('/').next().unwrap_or_default();
        if let Some((key, name)) = file.helper(domain) {
            let found = helper::get(name, &stored::server(domain))?;
            let what = found.as_ref().map_or("nothing".to_owned(), Credentials::whose);
            self.explain(&file.place, &format!("{key} calls docker-credential-{}: {what}", shown(name)));
            self.credentials = found;
            // A helper for one registry is asked in place of the file; one for all of them, before it.
            if self.credentials.is_some() || key != "credsStore" {
                return Ok(());
            }
        }
        match file.entry(repository)? {
            Entry::Found { key, credentials } => {
                self.explain(&file.place, &format!("auths[{key:?}]: {}", credentials.whose()));
                self.credentials = Some(credentials);
            }
            Entry::Empty { key } => self.explain(&file.place, &format!("auths[{key:?}]: empty")),
            Entry::Missing => self.explain(&file.place, "has nothing for it"),
        }
        Ok(())
    }

    fn explain(&mut self, place: &stored::Place, what: &str) {
        self.explanation.push(format!("auth: {place}: {what}"));
    }

    /// The value of `Authorization` for basic authentication.
    pub fn basic(&self) -> Option<String> {
        self.credentials.as_ref().and_then(Credentials::basic)
    }

    /// What a token server is asked. An identity token goes by POST, as OAuth2 has it.
    pub fn token_request(
        &self,
        http: &reqwest::Client,
        realm: Url,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> reqwest::RequestBuilder {
        if let Some(Credentials::IdentityToken(token)) = &self.credentials {
            let mut form = realm.clone();
            form.set_query(None);
            form.query_pairs_mut()
                .extend_pairs([("grant_type", "refresh_token"), ("client_id", "gocker-pull")])
                .extend_pairs(scope.map(|scope| ("scope", scope)))
                .extend_pairs(service.map(|service| ("service", service)))
                .append_pair("refresh_token", token);
            let body = form.query().unwrap_or_default().to_owned();
            let request = http.post(realm).header("content-type", "application/x-www-form-urlencoded");
            return request.body(body);
        }
        let mut url = realm;
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        url.query_pairs_mut().extend_pairs(scope.map(|scope| ("scope", scope)));
        let request = http.get(url);
        match self.basic() {
            Some(basic) => request.header(AUTHORIZATION, basic),
            None => request,
        }
    }
}
