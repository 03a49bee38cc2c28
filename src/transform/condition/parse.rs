//! Text → condition. Every error says at which character what was expected.

use std::iter::Peekable;
use std::vec::IntoIter;

use memchr::memmem;
use regex::RegexBuilder;

use super::{Comparison, Literal, Node, Operand, Test};
use crate::transform::name::Name;

/// Characters of a condition. A longer one is a list that belongs into a file of its own, not into a setting.
const MAX_CHARS: usize = 8192;

/// Parentheses and `not`s within each other.
const MAX_DEPTH: usize = 32;

/// Bytes of a compiled regular expression: some thousand words, and no more memory than that for each.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {column}: {what}")]
pub struct ConditionError {
    /// The character, counted from 1.
    pub column: usize,
    /// What was expected, and what is there.
    pub what: String,
}

fn error<T>(column: usize, what: impl Into<String>) -> Result<T, ConditionError> {
    Err(ConditionError { column, what: what.into() })
}

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Node, ConditionError> {
    if text.chars().nth(MAX_CHARS).is_some() {
        return error(MAX_CHARS, format!("the condition goes on; allowed: up to {MAX_CHARS} characters"));
    }
    let tokens = tokens(text)?;
    let end = text.chars().count() + 1;
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), end, depth: 0 };
    let node = parser.any()?;
    match parser.tokens.next() {
        None => Ok(node),
        Some((column, token)) => error(column, format!("expected and, or, or the end; found {}", token.shown())),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word: the name of a field, unless it is one of the language's.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) => format!("{text:?}"),
            Self::Quoted(text) => format!("the field `{text}`"),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Sign(sign) => format!("{sign:?}"),
        }
    }
}

const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", "="];

/// Signs of other languages, and what is written for them here.
const FOREIGN: [(&str, &str); 5] = [("&&", "and"), ("||", "or"), ("=~", "matches"), ("!", "not"), ("&", "and")];

const WORDS: [&str; 12] =
    ["and", "or", "not", "in", "matches", "contains", "starts_with", "ends_with", "exists", "true", "false", "null"];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let mut tokens = Vec::new();
    let (mut rest, mut column) = (text, 1);
    loop {
        let trimmed = rest.trim_start();
        column += rest.chars().count() - trimmed.chars().count();
        let Some(first) = trimmed.chars().next() else { return Ok(tokens) };
        let (token, len) = match first {
            '"' | '\'' | '`' => quoted(trimmed, first, column)?,
            _ => sign(trimmed, column)?.map_or_else(|| word(trimmed, column), Ok)?,
        };
        tokens.push((column, token));
        let (part, after) = trimmed.split_at_checked(len).unwrap_or((trimmed, ""));
        column += part.chars().count();
        rest = after;
    }
}

fn sign(text: &str, column: usize) -> Result<Option<(Token, usize)>, ConditionError> {
    let foreign = FOREIGN.iter().find(|(sign, _)| text.starts_with(sign) && !text.starts_with("!="));
    if let Some((sign, word)) = foreign {
        return error(column, format!("{sign:?} is written {word:?} here"));
    }
    let Some(sign) = SIGNS.iter().find(|sign| text.starts_with(**sign)) else { return Ok(None) };
    if *sign == "=" {
        return error(column, "\"=\" is written \"==\" here");
    }
    Ok(Some((Token::Sign(sign), sign.len())))
}

/// What stands in quotes, and how long it is with them.
fn quoted(text: &str, quote: char, column: usize) -> Result<(Token, usize), ConditionError> {
    let (mut inner, mut chars) = (String::new(), text.char_indices().skip(1).peekable());
    while let Some((at, c)) = chars.next() {
        if c == quote {
            // Two of them are one that is meant, but for double quotes, which have the backslash.
            if quote != '"' && chars.next_if(|(_, next)| *next == quote).is_some() {
                inner.push(quote);
                continue;
            }
            let token = if quote == '`' { Token::Quoted(inner) } else { Token::Text(inner) };
            return Ok((token, at + 1));
        }
        if quote == '"' && c == '\\' {
            inner.push_str(match chars.peek().map(|(_, next)| *next) {
                Some('"') => "\"",
                Some('\\') => "\\",
                Some('n') => "\n",
                Some('r') => "\r",
                Some('t') => "\t",
                _ => {
                    inner.push('\\');
                    continue;
                }
            });
            chars.next();
            continue;
        }
        inner.push(c);
    }
    error(column, format!("the {quote} that opens here is not closed"))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '.' | '-' | '/' | '$')
}

fn word(text: &str, column: usize) -> Result<(Token, usize), ConditionError> {
    let len = text.find(|c: char| !is_of_word(c) && c != '+').unwrap_or(text.len());
    let word = text.get(..len).unwrap_or_default();
    // The sign of an exponent is of a number alone.
    if crate::event::is_json_number(word) {
        return Ok((Token::Number(word.to_owned()), len));
    }
    let len = text.find(|c: char| !is_of_word(c)).unwrap_or(text.len());
    let word = text.get(..len).unwrap_or_default();
    match word.chars().next() {
        Some(c) if c.is_alphabetic() || matches!(c, '_' | '@' | '$') => Ok((Token::Word(word.to_owned()), len)),
        Some(c) if c.is_ascii_digit() || c == '-' => error(
            column,
            format!(
                "{word:?} is not a number; write it like -1.5, text in quotes, and the name of a field in backticks"
            ),
        ),
        _ => {
            let c = text.chars().next().unwrap_or_default();
            error(
                column,
                format!("{c:?} means nothing here; write text in quotes, and the name of a field in backticks"),
            )
        }
    }
}

struct Parser {
    tokens: Peekable<IntoIter<(usize, Token)>>,
    /// The column behind the last character.
    end: usize,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Node, ConditionError> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() > 1 { Node::Any(parts) } else { parts.remove(0) })
    }

    fn all(&mut self) -> Result<Node, ConditionError> {
        let mut parts = vec![self.one()?];
        while self.takes("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() > 1 { Node::All(parts) } else { parts.remove(0) })
    }

    fn one(&mut self) -> Result<Node, ConditionError> {
        let column = self.column();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return error(column, format!("parentheses and nots are more than {MAX_DEPTH} deep; write it flatter"));
        }
        let node = if self.takes("not") {
            Node::Not(Box::new(self.one()?))
        } else if self.takes_sign("(") {
            let inner = self.any()?;
            self.expect(")")?;
            inner
        } else if self.takes("exists") {
            self.expect("(")?;
            let name = self.field()?;
            self.expect(")")?;
            Node::Exists(name)
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, ConditionError> {
        let start = self.column();
        let left = self.operand()?;
        if let Some(comparison) = self.comparison_sign() {
            return Ok(Node::Compare(left, comparison, self.operand()?));
        }
        let column = self.column();
        let expected = !self.takes("not");
        let word = match self.tokens.peek() {
            Some((_, Token::Word(word))) => word.clone(),
            _ => String::new(),
        };
        let is_test = matches!(word.as_str(), "in" | "matches" | "contains" | "starts_with" | "ends_with");
        if !is_test && !expected {
            return error(
                self.column(),
                format!("expected in, matches, contains, starts_with or ends_with; found {}", self.found()),
            );
        }
        match (left, is_test) {
            (Operand::Field(name), true) => {
                self.tokens.next();
                self.test(name, &word, expected)
            }
            (Operand::Field(name), false) => Ok(Node::IsTrue(name)),
            (Operand::Literal(Literal::Bool(holds)), false) => Ok(Node::Always(holds)),
            (Operand::Literal(_), true) => error(
                start,
                format!(
                    "expected the name of a field before {word:?}; names are written without quotes, or in backticks"
                ),
            ),
            (Operand::Literal(_), false) => {
                error(column, format!("expected ==, !=, <, <=, > or >= after what is no field; found {}", self.found()))
            }
        }
    }

    fn test(&mut self, of: Name, word: &str, expected: bool) -> Result<Node, ConditionError> {
        if word == "in" {
            return Ok(Node::In { one: of, list: self.list()?, is_in: expected });
        }
        let column = self.column();
        let wanted = match self.tokens.next() {
            Some((_, Token::Text(text))) => text,
            Some((_, Token::Number(digits))) if word != "matches" => digits,
            Some((_, other)) => {
                return error(column, format!("expected text in quotes after {word:?}; found {}", other.shown()));
            }
            None => return error(column, format!("expected text in quotes after {word:?}; found the end")),
        };
        let test = match word {
            "contains" => Test::Contains(Box::new(memmem::Finder::new(wanted.as_bytes()).into_owned())),
            "starts_with" => Test::StartsWith(wanted),
            "ends_with" => Test::EndsWith(wanted),
            _ => match RegexBuilder::new(&wanted).size_limit(MAX_REGEX_BYTES).build() {
                Ok(regex) => Test::Matches(regex),
                Err(problem) => {
                    return error(
                        column,
                        format!("{wanted:?} is not a regular expression: {}", one_line(&problem.to_string())),
                    );
                }
            },
        };
        Ok(Node::Test { of, test, expected })
    }

    fn list(&mut self) -> Result<Vec<Literal>, ConditionError> {
        self.expect("[")?;
        let mut list = Vec::new();
        if self.takes_sign("]") {
            return Ok(list);
        }
        loop {
            let column = self.column();
            match self.operand()? {
                Operand::Literal(literal) => list.push(literal),
                Operand::Field(name) => {
                    return error(
                        column,
                        format!(
                            "expected text in quotes, a number, true, false or null; found the field {:?}",
                            name.text()
                        ),
                    );
                }
            }
            if self.takes_sign("]") {
                return Ok(list);
            }
            if !self.takes_sign(",") {
                return error(self.column(), format!("expected \",\" or \"]\"; found {}", self.found()));
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        let literal = match self.tokens.peek() {
            Some((_, Token::Text(text))) => Literal::Text(text.clone()),
            Some((_, Token::Number(digits))) => Literal::Number(digits.clone()),
            Some((_, Token::Word(word))) => match word.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                _ => return self.field().map(Operand::Field),
            },
            _ => return self.field().map(Operand::Field),
        };
        self.tokens.next();
        Ok(Operand::Literal(literal))
    }

    fn field(&mut self) -> Result<Name, ConditionError> {
        let column = self.column();
        let text = match self.tokens.next() {
            Some((_, Token::Quoted(name))) => name,
            Some((_, Token::Word(word))) if word == "field" && self.is_sign("(") => self.field_in_words()?,
            Some((_, Token::Word(word))) if WORDS.contains(&word.as_str()) => {
                return error(
                    column,
                    format!("expected a field or a value; found {word:?} (a field of that name is written `{word}`)"),
                );
            }
            Some((_, Token::Word(word))) => word,
            Some((_, other)) => return error(column, format!("expected a field or a value; found {}", other.shown())),
            None => return error(column, "expected a field or a value; found the end"),
        };
        Name::parse(&text).or_else(|problem| error(column, problem.to_string()))
    }

    fn field_in_words(&mut self) -> Result<String, ConditionError> {
        self.expect("(")?;
        let column = self.column();
        let Some((_, Token::Text(name))) = self.tokens.next() else {
            return error(column, "expected the name of a field in quotes, such as field(\"odd name\")");
        };
        self.expect(")")?;
        Ok(name)
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        let Some((_, Token::Sign(sign))) = self.tokens.peek() else { return None };
        let comparison = match *sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.tokens.next();
        Some(comparison)
    }

    fn column(&mut self) -> usize {
        self.tokens.peek().map_or(self.end, |(column, _)| *column)
    }

    fn found(&mut self) -> String {
        self.tokens.peek().map_or_else(|| "the end".to_owned(), |(_, token)| token.shown())
    }

    fn takes(&mut self, word: &str) -> bool {
        self.tokens.next_if(|(_, token)| matches!(token, Token::Word(found) if found == word)).is_some()
    }

    fn is_sign(&mut self, sign: &str) -> bool {
        matches!(self.tokens.peek(), Some((_, Token::Sign(found))) if *found == sign)
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_there = self.is_sign(sign);
        if is_there {
            self.tokens.next();
        }
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), ConditionError> {
        if self.takes_sign(sign) {
            return Ok(());
        }
        error(self.column(), format!("expected {sign:?}; found {}", self.found()))
    }
}

/// The parser of regular expressions draws the pattern and points at the place, over several lines.
fn one_line(said: &str) -> String {
    said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::super::Condition;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_say_where_and_what_was_expected() {
        for (text, column, what) in [
            ("", 1, "expected a field or a value; found the end"),
            ("status =", 8, "\"=\" is written \"==\" here"),
            ("status == ", 11, "expected a field or a value; found the end"),
            ("a && b", 3, "\"&&\" is written \"and\" here"),
            ("a || b", 3, "\"||\" is written \"or\" here"),
            ("!a", 1, "\"!\" is written \"not\" here"),
            ("a == 1 b", 8, "expected and, or, or the end; found \"b\""),
            ("(a == 1", 8, "expected \")\"; found the end"),
            ("é == \"x", 6, "the \" that opens here is not closed"),
            ("a in 1", 6, "expected \"[\"; found \"1\""),
            ("a in [1 2]", 9, "expected \",\" or \"]\"; found \"2\""),
            ("a in [b]", 7, "expected text in quotes, a number, true, false or null; found the field \"b\""),
            ("a matches b", 11, "expected text in quotes after \"matches\"; found \"b\""),
            ("exists a", 8, "expected \"(\"; found \"a\""),
            ("in == 1", 1, "expected a field or a value; found \"in\" (a field of that name is written `in`)"),
            ("a not 1", 7, "expected in, matches, contains, starts_with or ends_with; found \"1\""),
            ("\"a\"", 4, "expected ==, !=, <, <=, > or >= after what is no field; found the end"),
            (
                "\"a\" contains \"b\"",
                1,
                "expected the name of a field before \"contains\"; names are written without quotes, or in backticks",
            ),
            (
                "a..b == 1",
                1,
                "\"a..b\" has a dot with nothing on one side of it; write names of nested fields like a.b",
            ),
            (
                "a == 1.2.3",
                6,
                "\"1.2.3\" is not a number; write it like -1.5, text in quotes, and the name of a field in backticks",
            ),
            ("a == #", 6, "'#' means nothing here; write text in quotes, and the name of a field in backticks"),
            ("field(a)", 7, "expected the name of a field in quotes, such as field(\"odd name\")"),
        ] {
            let column_and_what = Condition::parse(text).map_err(|e| (e.column, e.what)).map(|_| ());
            assert_eq!(column_and_what, Err((column, what.to_owned())), "{text}");
        }
        let said = Condition::parse("a matches \"(\"").unwrap_err().to_string();
        assert!(
            said.starts_with("at character 11: \"(\" is not a regular expression: ") && !said.contains('\n'),
            "{said}"
        );
    }

    #[test]
    fn depth_and_length_have_bounds() {
        let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(Condition::parse(&deep(MAX_DEPTH - 1)).is_ok());
        assert!(Condition::parse(&deep(MAX_DEPTH)).unwrap_err().what.contains("deep"));
        assert!(Condition::parse(&deep(4000)).is_err() && Condition::parse(&"not ".repeat(2000)).is_err());
        let long = vec!["a == 1"; 700].join(" or ");
        assert!(Condition::parse(&long).is_ok(), "a chain is not deep");
        assert!(Condition::parse(&long.repeat(2)).unwrap_err().what.contains("up to 8192"));
        assert!(Condition::parse("a matches \"(\\\\w{1000}){1000}\"").unwrap_err().what.contains("size"));
    }

    fn soup() -> impl Strategy<Value = String> {
        let words = WORDS
            .iter()
            .chain(&SIGNS)
            .copied()
            .chain(["a.b", "1", "-2.5e+3", "\"x\"", "'y'", "`z`", "é", "field", "\"", "\\", "&&"]);
        let words: Vec<&str> = words.collect();
        proptest::collection::vec(proptest::sample::select(words), 0..24).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            if let Err(error) = Condition::parse(&text) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            }
        }

        #[test]
        fn no_words_make_it_panic(text in soup()) {
            let event = crate::event::Event::from_json(r#"{"a":{"b":1},"z":[true],"é":"x"}"#).unwrap();
            match Condition::parse(&text) {
                Ok(condition) => drop(condition.holds(&event)),
                Err(error) => prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1),
            }
        }
    }
}
