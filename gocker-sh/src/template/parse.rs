//! Reads a template's text. Pure.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Block, Expr, Node};

/// The whole text.
pub fn template(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter().collect(), at: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        None => Ok(nodes),
        Some(word) => bail!("cannot read the template: {word} without if, range or with"),
    }
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Action(String),
}

/// Cuts the text at its actions; `{{-` and `-}}` take the white space beside them away.
fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, behind) = after.split_once("}}").context("cannot read the template: {{ without }}")?;
        let trims_left = action.starts_with("- ");
        let trims_right = action.ends_with(" -");
        pieces.push(Piece::Text(if trims_left { before.trim_end() } else { before }.to_owned()));
        let action = action.trim_start_matches("- ").trim_end_matches(" -").trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action.to_owned()));
        }
        rest = if trims_right { behind.trim_start() } else { behind };
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

struct Parser {
    pieces: Vec<Piece>,
    at: usize,
}

impl Parser {
    /// Nodes up to the end of the text, or to an `end` or `else` that belongs to somebody above.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<String>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at).cloned() {
            self.at += 1;
            match piece {
                Piece::Text(text) if text.is_empty() => {}
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(action) => match action.split_whitespace().next() {
                    Some("end" | "else") => return Ok((nodes, Some(action))),
                    Some("if") => nodes.push(self.block(Block::If, "if", &action[2..])?),
                    Some("range") => nodes.push(self.block(Block::Range, "range", &action[5..])?),
                    Some("with") => nodes.push(self.block(Block::With, "with", &action[4..])?),
                    Some(_) => nodes.push(Node::Print(expression(&action)?)),
                    None => bail!("cannot read the template: {{{{}}}} holds nothing"),
                },
            }
        }
        Ok((nodes, None))
    }

    fn block(&mut self, kind: Block, word: &str, over: &str) -> Result<Node> {
        let over = expression(over.trim())?;
        let (then, end) = self.nodes()?;
        let otherwise = match end.as_deref() {
            Some("end") => Vec::new(),
            Some("else") => match self.nodes()? {
                (nodes, Some(end)) if end == "end" => nodes,
                _ => bail!("cannot read the template: else without end"),
            },
            Some(other) => {
                // `else if ...`: a block of its own in the else.
                let Some(condition) = other.strip_prefix("else if ") else {
                    bail!("cannot read the template: {other}")
                };
                vec![self.block(Block::If, "if", condition)?]
            }
            None => bail!("cannot read the template: {word} without end"),
        };
        Ok(Node::Block { kind, over, then, otherwise })
    }
}

/// A pipeline: each part gets the value before it as its last argument.
fn expression(text: &str) -> Result<Expr> {
    let mut tokens = Tokens { tokens: tokens(text)?, at: 0 };
    let expr = tokens.pipeline()?;
    match tokens.next() {
        None => Ok(expr),
        Some(token) => bail!("cannot read the template: {token:?} in {text}"),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    /// With the fields taken from what was in the parentheses.
    Close(Vec<String>),
    Pipe,
    Literal(Value),
    /// A function's name, or a path of fields.
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            '|' => (Token::Pipe, 1),
            ')' => {
                let path = &rest[1..1 + word_length(&rest[1..])];
                (Token::Close(fields(path)), 1 + path.len())
            }
            '"' => quoted(rest)?,
            '`' => {
                let end = rest[1..].find('`').context("cannot read the template: ` without its end")?;
                (Token::Literal(Value::from(&rest[1..=end])), end + 2)
            }
            _ => {
                let word = &rest[..word_length(rest).max(1)];
                (number_or_word(word), word.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || "()|\"`".contains(c)).unwrap_or(text.len())
}

fn quoted(text: &str) -> Result<(Token, usize)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match stream.next() {
        Some(Ok(value)) => Ok((Token::Literal(value), stream.byte_offset())),
        _ => bail!("cannot read the template: \" without its end"),
    }
}

fn number_or_word(word: &str) -> Token {
    match (word, word.parse::<i64>()) {
        ("true", _) => Token::Literal(Value::from(true)),
        ("false", _) => Token::Literal(Value::from(false)),
        ("nil", _) => Token::Literal(Value::Null),
        (_, Ok(number)) => Token::Literal(Value::from(number)),
        (word, Err(_)) => Token::Word(word.to_owned()),
    }
}

/// The names in `.A.B`.
fn fields(path: &str) -> Vec<String> {
    path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

struct Tokens {
    tokens: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn pipeline(&mut self) -> Result<Expr> {
        let mut expr = self.command(None)?;
        while self.tokens.get(self.at) == Some(&Token::Pipe) {
            self.at += 1;
            expr = self.command(Some(expr))?;
        }
        Ok(expr)
    }

    /// A function with its arguments, or one value.
    fn command(&mut self, piped: Option<Expr>) -> Result<Expr> {
        let word = match self.tokens.get(self.at) {
            Some(Token::Word(word)) if is_function(word) => word.trim_start_matches('.').to_owned(),
            _ => return self.operand(),
        };
        self.at += 1;
        let mut arguments = Vec::new();
        while !matches!(self.tokens.get(self.at), None | Some(Token::Pipe | Token::Close(_))) {
            arguments.push(self.operand()?);
        }
        arguments.extend(piped);
        Ok(Expr::Call(word, arguments))
    }

    fn operand(&mut self) -> Result<Expr> {
        match self.next() {
            Some(Token::Literal(value)) => Ok(Expr::Literal(value)),
            Some(Token::Word(word)) if word.starts_with('.') => Ok(Expr::Field(fields(&word))),
            Some(Token::Word(word)) if word.starts_with('$') => Ok(Expr::Root(fields(&word[1..]))),
            Some(Token::Word(word)) => Ok(Expr::Call(word, Vec::new())),
            Some(Token::Open) => {
                let inner = self.pipeline()?;
                match self.next() {
                    Some(Token::Close(path)) if path.is_empty() => Ok(inner),
                    Some(Token::Close(path)) => {
                        let path = path.into_iter().map(|name| Expr::Literal(Value::from(name)));
                        Ok(Expr::Call("index".to_owned(), [inner].into_iter().chain(path).collect()))
                    }
                    _ => bail!("cannot read the template: ( without )"),
                }
            }
            other => bail!("cannot read the template: a value is missing before {other:?}"),
        }
    }
}

/// `.Label "key"` is a method of docker's rows: the one field that takes an argument.
fn is_function(word: &str) -> bool {
    word == ".Label" || !(word.starts_with('.') || word.starts_with('$'))
}
