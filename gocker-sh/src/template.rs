//! The part of Go's templates that people use in `--format`.
//!
//! Text, `{{.Field.Field}}`, `{{json X}}`, the functions below with pipes and parentheses, `if`, `else`, `range`,
//! `with` and `end`. It knows no container: it walks a JSON value.

use anyhow::{Result, bail};
use serde_json::Value;

mod function;
mod parse;

/// A template that has been understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Node>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Print(Expr),
    Block { kind: Block, over: Expr, then: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    If,
    Range,
    With,
}

#[derive(Clone, Debug, PartialEq)]
enum Expr {
    /// `.A.B`, from the current value; no names for `.` itself.
    Field(Vec<String>),
    /// `$.A.B`, from the value that the template was started with.
    Root(Vec<String>),
    Literal(Value),
    /// A function and its arguments.
    Call(String, Vec<Expr>),
}

impl Template {
    /// # Errors
    /// The text is no template, or uses more than is supported.
    pub fn parse(text: &str) -> Result<Template> {
        parse::template(text).map(Template)
    }

    /// The template's text for one value.
    pub fn render(&self, value: &Value) -> Result<String> {
        let mut out = String::new();
        render(&self.0, value, value, &mut out)?;
        Ok(out)
    }
}

fn render(nodes: &[Node], value: &Value, root: &Value, out: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(expr) => out.push_str(&shown(&evaluate(expr, value, root)?)),
            Node::Block { kind, over, then, otherwise } => {
                let over = evaluate(over, value, root)?;
                match kind {
                    _ if !truth(&over) => render(otherwise, value, root, out)?,
                    Block::If => render(then, value, root, out)?,
                    Block::With => render(then, &over, root, out)?,
                    Block::Range => {
                        for item in items(&over)? {
                            render(then, item, root, out)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn evaluate(expr: &Expr, value: &Value, root: &Value) -> Result<Value> {
    match expr {
        Expr::Field(names) => follow(value, names),
        Expr::Root(names) => follow(root, names),
        Expr::Literal(literal) => Ok(literal.clone()),
        Expr::Call(name, arguments) => {
            let arguments: Vec<Value> =
                arguments.iter().map(|argument| evaluate(argument, value, root)).collect::<Result<_>>()?;
            function::call(name, &arguments, value)
        }
    }
}

fn follow(value: &Value, names: &[String]) -> Result<Value> {
    let mut at = value;
    for name in names {
        at = match at {
            Value::Object(fields) => match fields.get(name) {
                Some(field) => field,
                None => bail!("cannot apply the template: there is no field .{name}"),
            },
            Value::Null => return Ok(Value::Null),
            _ => bail!("cannot apply the template: what .{name} is taken from has no fields"),
        };
    }
    Ok(at.clone())
}

fn items(value: &Value) -> Result<Vec<&Value>> {
    match value {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Object(fields) => Ok(fields.values().collect()),
        _ => bail!("cannot apply the template: range over what is no list"),
    }
}

/// Go's notion: the zero value of every type is false.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value as Go prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let pairs: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String> {
        let value = json!({"ID": "3f2a", "Labels": "a=b,c=d", "State": {"Pid": 7, "Running": true, "Error": ""},
            "Env": ["A=1", "B=2"], "Ports": {"80/tcp": [{"HostPort": "8080"}]}});
        Template::parse(template)?.render(&value)
    }

    #[test]
    fn what_people_type() {
        for (template, text) in [
            ("{{.ID}}: {{.State.Pid}}", "3f2a: 7"),
            ("{{json .State}}", "{\"Error\":\"\",\"Pid\":7,\"Running\":true}"),
            ("{{.State.Running | json}}", "true"),
            ("{{range .Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
            ("{{if .State.Error}}bad{{else}}good{{end}}", "good"),
            ("{{if eq .State.Pid 7}}seven{{end}}", "seven"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{with index .Ports \"80/tcp\"}}{{(index . 0).HostPort}}{{end}}", "8080"),
            ("{{.Label \"c\"}}", "d"),
            ("{{join .Env \",\"}}", "A=1,B=2"),
            ("{{upper .ID}} {{len .Env}}", "3F2A 2"),
            ("{{- .ID -}}  x", "3f2ax"),
            ("{{printf \"%s-%d\" .ID .State.Pid}}", "3f2a-7"),
            (
                "{{.}}",
                "map[Env:[A=1 B=2] ID:3f2a Labels:a=b,c=d Ports:map[80/tcp:[map[HostPort:8080]]] \
                State:map[Error: Pid:7 Running:true]]",
            ),
        ] {
            assert_eq!(render(template).unwrap(), text, "{template}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (template, error) in [
            ("{{.Nope}}", "cannot apply the template: there is no field .Nope"),
            ("{{.ID", "cannot read the template: {{ without }}"),
            ("{{if .ID}}x", "cannot read the template: if without end"),
            ("{{end}}", "cannot read the template: end without if, range or with"),
            ("{{frob .ID}}", "template function frob is not supported; use --json and jq"),
        ] {
            assert_eq!(render(template).unwrap_err().to_string(), error, "{template}");
        }
    }
}
