//! A small reader of GraphQL: one operation, fields with aliases and arguments, variables, inline fragments. Enough for
//! what clients of Fly ask; named fragments and directives are refused.

use serde_json::{Map, Value};

/// Fields inside fields.
const DEPTH_MAX: usize = 20;

/// An operation.
#[derive(Debug)]
pub struct Operation {
    pub is_mutation: bool,
    pub fields: Vec<Selection>,
}

/// Something asked for.
#[derive(Debug)]
pub enum Selection {
    /// A field.
    Field(Field),
    /// Fields of one kind of thing only: `... on User { … }`.
    On(String, Vec<Selection>),
}

/// A field.
#[derive(Debug)]
pub struct Field {
    /// The key of the answer.
    pub alias: String,
    pub name: String,
    /// With variables filled in.
    pub args: Map<String, Value>,
    pub fields: Vec<Selection>,
}

/// Reads a document. Errors: what is wrong with it, as a sentence.
pub fn parse(text: &str, variables: &Value) -> Result<Operation, String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, variables };
    let operation = reader.operation()?;
    match reader.peek() {
        None => Ok(operation),
        Some(token) => Err(format!("Parse error on {token:?}: one operation is read here")),
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut token = String::from(first);
        match first {
            '#' => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            c if c.is_whitespace() || c == ',' || c == '\u{feff}' => continue,
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => token.extend(['\\'].into_iter().chain(chars.next())),
                    Some(c) => token.push(c),
                    None => return Err("Parse error: a text does not end".to_owned()),
                }
            },
            '.' => token.extend(std::iter::from_fn(|| chars.next_if_eq(&'.'))),
            c if c.is_alphanumeric() || c == '_' || c == '-' => {
                token.extend(std::iter::from_fn(|| chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))));
            }
            _ => {}
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    variables: &'a Value,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("Parse error: unexpected end of document")?;
        self.at += 1;
        Ok(token)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_it = self.peek() == Some(wanted);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == wanted { Ok(()) } else { Err(format!("Parse error: expected {wanted:?}, found {found:?}")) }
    }

    fn name(&mut self) -> Result<String, String> {
        let name = self.next()?;
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if is_name { Ok(name) } else { Err(format!("Parse error: expected a name, found {name:?}")) }
    }

    fn operation(&mut self) -> Result<Operation, String> {
        let is_mutation = self.take("mutation");
        if (is_mutation || self.take("query")) && self.peek() != Some("{") {
            if self.peek() != Some("(") {
                self.name()?;
            }
            if self.peek() == Some("(") {
                // What the variables are declared as is not looked at; that they are there is, when one is used.
                while self.next()? != ")" {}
            }
        }
        Ok(Operation { is_mutation, fields: self.selections(0)? })
    }

    fn selections(&mut self, depth: usize) -> Result<Vec<Selection>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("Parse error: more than {DEPTH_MAX} fields inside each other"));
        }
        self.expect("{")?;
        let mut found = Vec::new();
        while !self.take("}") {
            if self.take("...") {
                self.expect("on")?;
                let kind = self.name()?;
                found.push(Selection::On(kind, self.selections(depth + 1)?));
                continue;
            }
            let first = self.name()?;
            let (alias, name) = if self.take(":") { (first, self.name()?) } else { (first.clone(), first) };
            let mut args = Map::new();
            if self.take("(") {
                while !self.take(")") {
                    let key = self.name()?;
                    self.expect(":")?;
                    args.insert(key, self.value(depth)?);
                }
            }
            let fields = if self.peek() == Some("{") { self.selections(depth + 1)? } else { Vec::new() };
            found.push(Selection::Field(Field { alias, name, args, fields }));
        }
        Ok(found)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(format!("Parse error: more than {DEPTH_MAX} values inside each other"));
        }
        let token = self.next()?;
        Ok(match token.as_str() {
            "$" => {
                let name = self.name()?;
                self.variables.get(&name).cloned().unwrap_or(Value::Null)
            }
            "[" => {
                let mut list = Vec::new();
                while !self.take("]") {
                    list.push(self.value(depth + 1)?);
                }
                Value::Array(list)
            }
            "{" => {
                let mut map = Map::new();
                while !self.take("}") {
                    let key = self.name()?;
                    self.expect(":")?;
                    map.insert(key, self.value(depth + 1)?);
                }
                Value::Object(map)
            }
            text if text.starts_with('"') => {
                serde_json::from_str(&format!("{text}\"")).map_err(|_| format!("Parse error: {text} is no text"))?
            }
            // A word of an enumeration reads as its name.
            word => serde_json::from_str(word).unwrap_or_else(|_| Value::from(word)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn aliases_arguments_variables_and_fragments_are_read() {
        let text = "query Q($n: String!, $v: Int) { # why\n a: app(name: $n, type: \"x\\\"y\") { release(version: $v) { id } } \
                    viewer { ... on User { email } } }";
        let read = parse(text, &json!({"n": "shop", "v": 3})).expect("it reads");
        let [Selection::Field(app), Selection::Field(viewer)] = read.fields.as_slice() else { panic!("{read:?}") };
        assert_eq!((app.alias.as_str(), app.name.as_str()), ("a", "app"));
        assert_eq!(json!(app.args), json!({"name": "shop", "type": "x\"y"}));
        let [Selection::Field(release)] = app.fields.as_slice() else { panic!("{app:?}") };
        assert_eq!(json!(release.args), json!({"version": 3}));
        assert!(matches!(viewer.fields.as_slice(), [Selection::On(kind, _)] if kind == "User"));
        assert!(!read.is_mutation);
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_words() {
        for text in ["", "{", "query {", "{ a(b: ) }", "{ a { ...F } } fragment F on A { b }", "{ \"a\" }", "{a}{b}"] {
            assert!(parse(text, &json!({})).is_err(), "{text:?}");
        }
        assert!(parse(&"{a".repeat(10_000), &json!({})).is_err(), "without an end of the stack");
    }
}
