//! The functions that a template may call. Pure.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{shown, truth};

/// Calls a function. `row` is the current value, for `.Label`.
pub fn call(name: &str, arguments: &[Value], row: &Value) -> Result<Value> {
    let text = |at: usize| arguments.get(at).map(shown).unwrap_or_default();
    let value = |at: usize| arguments.get(at).cloned().unwrap_or(Value::Null);
    Ok(match name {
        "json" => Value::from(serde_json::to_string(&value(0))?),
        "upper" => Value::from(text(0).to_uppercase()),
        "lower" => Value::from(text(0).to_lowercase()),
        "title" => Value::from(title(&text(0))),
        "len" => Value::from(length(&value(0))),
        "index" => index(arguments)?,
        "join" => Value::from(strings(&value(0)).join(&text(1))),
        "split" => text(0).split(&text(1)).map(str::to_owned).collect::<Vec<_>>().into(),
        "truncate" => Value::from(text(0).chars().take(text(1).parse().unwrap_or(0)).collect::<String>()),
        "println" => Value::from(strings(&Value::from(arguments)).join(" ") + "\n"),
        "print" => Value::from(strings(&Value::from(arguments)).concat()),
        "printf" => Value::from(printf(arguments)),
        "eq" => Value::from(arguments.iter().skip(1).any(|one| *one == value(0))),
        "ne" => Value::from(value(0) != value(1)),
        "not" => Value::from(!truth(&value(0))),
        "and" => {
            arguments.iter().find(|one| !truth(one)).or(arguments.last()).cloned().unwrap_or(Value::Null)
        }
        "or" => arguments.iter().find(|one| truth(one)).or(arguments.last()).cloned().unwrap_or(Value::Null),
        "Label" => Value::from(label(row, &text(0))),
        _ => bail!("template function {name} is not supported; use --json and jq"),
    })
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().map(|items| items.iter().map(shown).collect()).unwrap_or_default()
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

/// `index X A B`: X[A][B].
fn index(arguments: &[Value]) -> Result<Value> {
    let Some((whole, path)) = arguments.split_first() else {
        bail!("cannot apply the template: index of nothing");
    };
    let mut at = whole;
    for step in path {
        let found = match (at, step) {
            (Value::Array(items), Value::Number(number)) => {
                number.as_u64().and_then(|number| items.get(usize::try_from(number).ok()?))
            }
            (Value::Object(fields), Value::String(name)) => Some(fields.get(name).unwrap_or(&Value::Null)),
            (Value::Null, _) => Some(&Value::Null),
            _ => None,
        };
        match found {
            Some(found) => at = found,
            None => bail!("cannot apply the template: there is no index {step}"),
        }
    }
    Ok(at.clone())
}

/// `%s`, `%d`, `%v`, `%q` and `%%`.
fn printf(arguments: &[Value]) -> String {
    let format = arguments.first().map(shown).unwrap_or_default();
    let mut values = arguments.iter().skip(1);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('%')) => out.push('%'),
            ('%', Some('q')) => {
                out.push_str(&crate::human::quote(&values.next().map(shown).unwrap_or_default()))
            }
            ('%', Some(_)) => out.push_str(&values.next().map(shown).unwrap_or_default()),
            _ => out.push(c),
        }
    }
    out
}

/// The value of one of the labels that the row has in one string.
fn label(row: &Value, key: &str) -> String {
    let labels = row.get("Labels").and_then(Value::as_str).unwrap_or_default();
    let found = labels.split(',').find_map(|label| label.split_once('=').filter(|(name, _)| *name == key));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}
