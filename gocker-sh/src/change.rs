//! `--change`: Dockerfile instructions that change an image's configuration. Pure.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

/// An OCI image configuration's `config`.
type Config = Map<String, Value>;

pub fn apply_all(config: &mut Config, instructions: &[String]) -> Result<()> {
    instructions.iter().try_for_each(|instruction| apply(config, instruction))
}

fn apply(config: &mut Config, instruction: &str) -> Result<()> {
    let (verb, rest) = instruction.trim().split_once(char::is_whitespace).unwrap_or((instruction.trim(), ""));
    let (verb, rest) = (verb.to_ascii_uppercase(), rest.trim());
    if rest.is_empty() {
        bail!("{verb} requires at least one argument");
    }
    match verb.as_str() {
        "CMD" => set(config, "Cmd", command(rest)),
        "ENTRYPOINT" => {
            // The old command was meant for the old entry point.
            config.remove("Cmd");
            set(config, "Entrypoint", command(rest));
        }
        "ENV" => pairs(rest)?.iter().for_each(|(key, value)| set_variable(config, key, value)),
        "LABEL" => {
            for (key, value) in pairs(rest)? {
                add(config, "Labels", key, value.into());
            }
        }
        "EXPOSE" => {
            for port in words(rest) {
                let port = if port.contains('/') { port } else { format!("{port}/tcp") };
                add(config, "ExposedPorts", port, json!({}));
            }
        }
        "VOLUME" => {
            for path in array(rest).unwrap_or_else(|| words(rest)) {
                add(config, "Volumes", path, json!({}));
            }
        }
        "USER" => set(config, "User", rest.into()),
        "WORKDIR" => set(config, "WorkingDir", rest.into()),
        "STOPSIGNAL" => set(config, "StopSignal", rest.into()),
        _ => bail!("{verb} is not a valid change command"),
    }
    Ok(())
}

fn set(config: &mut Config, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

fn add(config: &mut Config, key: &str, name: String, value: Value) {
    if let Some(fields) = config.entry(key).or_insert_with(|| json!({})).as_object_mut() {
        fields.insert(name, value);
    }
}

fn set_variable(config: &mut Config, key: &str, value: &str) {
    if let Some(env) = config.entry("Env").or_insert_with(|| json!([])).as_array_mut() {
        let own = format!("{key}=");
        env.retain(|old| !old.as_str().is_some_and(|old| old.starts_with(&own)));
        env.push(format!("{own}{value}").into());
    }
}

/// The exec form is a JSON array; anything else is for a shell.
fn command(rest: &str) -> Value {
    array(rest).map_or_else(|| json!(["/bin/sh", "-c", rest]), Value::from)
}

fn array(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

/// `KEY=VALUE KEY="OTHER VALUE"`, or `KEY VALUE` with all the rest as the value.
fn pairs(rest: &str) -> Result<Vec<(String, String)>> {
    let (first, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !first.contains('=') {
        if value.is_empty() {
            bail!("{rest} has no value");
        }
        return Ok(vec![(first.to_owned(), value.trim().to_owned())]);
    }
    let mut pairs = Vec::new();
    for word in words(rest) {
        match word.split_once('=') {
            Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
            None => bail!("Syntax error - can't find = in \"{word}\". Must be of the form: name=value"),
        }
    }
    Ok(pairs)
}

/// Words as a shell has them, with both kinds of quotes and the backslash.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: &Value, instructions: &[&str]) -> Value {
        let mut config = before.as_object().cloned().unwrap();
        instructions.iter().try_for_each(|one| apply(&mut config, one)).unwrap();
        config.into()
    }

    #[test]
    fn commands_are_for_a_shell_or_as_they_are() {
        assert_eq!(changed(&json!({}), &["CMD [\"a\", \"b\"]"]), json!({"Cmd": ["a", "b"]}));
        assert_eq!(changed(&json!({}), &["cmd a b"]), json!({"Cmd": ["/bin/sh", "-c", "a b"]}));
        assert_eq!(changed(&json!({"Cmd": ["x"]}), &["ENTRYPOINT [\"a\"]"]), json!({"Entrypoint": ["a"]}));
    }

    #[test]
    fn variables_replace_and_quotes_hold() {
        let before = json!({"Env": ["A=0", "AB=1"]});
        assert_eq!(
            changed(&before, &["ENV A=\"x y\" C=\\ z", "ENV D e f"]),
            json!({"Env": ["AB=1", "A=x y", "C= z", "D=e f"]})
        );
        assert!(apply(&mut Map::new(), "ENV A=1 B").is_err());
    }

    #[test]
    fn sets_grow() {
        assert_eq!(
            changed(&json!({"Labels": {"a": "b"}}), &["LABEL c='d e'", "EXPOSE 80 53/udp", "VOLUME /a /b"]),
            json!({"Labels": {"a": "b", "c": "d e"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Volumes": {"/a": {}, "/b": {}}})
        );
        assert!(apply(&mut Map::new(), "FROM x").is_err() && apply(&mut Map::new(), "USER").is_err());
    }
}
