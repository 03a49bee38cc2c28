//! Redaction as a whole: a thousand secrets of each kind among ordinary lines, in all the ways in which they can be written, and none comes through.

use std::fmt::Write;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::name::tests::{event, rendered};
use super::*;

fn redact(presets: &[Preset]) -> Redact {
    Redact::new(presets, &[], Vec::new(), With::Mask(With::MASK.to_owned())).unwrap()
}

/// Made once: its expressions take longer to read than a test to run.
static ALL: LazyLock<Redact> = LazyLock::new(|| redact(&Preset::ALL.map(|(_, preset)| preset)));

fn covered(redact: &Redact, json: &str) -> String {
    let mut event = event(json);
    redact.apply((&mut redact.open_keys(), &mut String::new()), &mut event, &Context::default());
    rendered(&event)
}

fn fields(names: &[&str], with: With) -> Redact {
    Redact::new(&[], &[], names.iter().map(|name| Glob::new(name)).collect(), with).unwrap()
}

/// Secrets that are made from a seed.
struct Maker(fastrand::Rng);

impl Maker {
    fn text(&mut self, alphabet: &str, len: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..len).map(|_| letters[self.0.usize(..letters.len())]).collect()
    }

    const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    fn card(&mut self) -> String {
        let kinds: [(&str, usize); 12] = [
            ("4", 16),
            ("4", 13),
            ("4", 19),
            ("51", 16),
            ("2720", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("3530", 16),
            ("36", 14),
            ("62", 16),
            ("65", 16),
        ];
        let (start, len) = kinds[self.0.usize(..kinds.len())];
        let mut digits = start.to_owned();
        digits.push_str(&self.text("0123456789", len - 1 - start.len()));
        let sum: u32 = digits.chars().rev().enumerate().fold(0, |sum, (place, digit)| {
            let digit = digit.to_digit(10).unwrap();
            sum + if place % 2 == 1 {
                digit
            } else if digit > 4 {
                digit * 2 - 9
            } else {
                digit * 2
            }
        });
        digits.push(char::from_digit((10 - sum % 10) % 10, 10).unwrap());
        let separator = ["", "-", " "][self.0.usize(..3)];
        let groups: Vec<usize> = match len {
            15 => vec![4, 6, 5],
            14 => vec![4, 6, 4],
            13 => vec![4, 3, 3, 3],
            19 => vec![4, 4, 4, 4, 3],
            _ => vec![4; 4],
        };
        let mut rest = digits.as_str();
        let mut parts = Vec::new();
        for group in groups {
            let (part, after) = rest.split_at(group);
            parts.push(part);
            rest = after;
        }
        parts.join(separator)
    }

    const ID: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    fn aws_key(&mut self) -> (String, String) {
        let key = self.text(Self::BASE64, 40);
        match self.0.u8(..3) {
            0 => {
                let id = format!("{}{}", ["AKIA", "ASIA"][self.0.usize(..2)], self.text(Self::ID, 16));
                (id.clone(), id)
            }
            1 => {
                let before =
                    ["aws_secret_access_key = ", "AWS_SECRET_ACCESS_KEY=", "SecretAccessKey: "][self.0.usize(..3)];
                (format!("{before}{key}"), key)
            }
            _ => (format!("AKIA{},{key}", self.text(Self::ID, 16)), key),
        }
    }

    fn bearer(&mut self) -> (String, String) {
        match self.0.u8(..3) {
            0 => {
                let token = self.text(Self::ALNUM, 32);
                let before = ["Bearer", "bearer", "BEARER", "authorization: Bearer"][self.0.usize(..4)];
                (format!("{before} {token}"), token)
            }
            1 => {
                let [a, b, c] = [33, 80, 43].map(|len| self.text(&format!("{}-_", Self::ALNUM), len));
                let token = format!("eyJ{a}.eyJ{b}.{c}");
                (token.clone(), token)
            }
            _ => {
                let pair = format!("{}:{}", self.text(Self::ALNUM, 6), self.text(Self::ALNUM, 9));
                let encoded = base64_simd::STANDARD.encode_to_string(pair);
                (format!("Basic {encoded}"), encoded)
            }
        }
    }

    fn address(&mut self) -> String {
        let groups = [0; 8].map(|_| self.0.u16(..));
        match self.0.u8(..6) {
            0 => groups.map(|group| format!("{group:x}")).join(":"),
            1 => groups.map(|group| format!("{group:04X}")).join(":"),
            2 => format!("2001:db8:{:x}::{:x}", groups[0], groups[1]),
            _ => [0; 4].map(|_| self.0.u8(1..).to_string()).join("."),
        }
    }

    fn private_key(&mut self) -> (String, String) {
        let kind = ["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "][self.0.usize(..5)];
        let lines: Vec<String> = (0..self.0.usize(3..9)).map(|_| self.text(Self::BASE64, 64)).collect();
        let body = lines.join("\n");
        (format!("-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"), lines[0].clone())
    }

    fn password(&mut self) -> (String, String) {
        let password = self.text(&format!("{}!$%+.-_", Self::ALNUM), 12);
        let text = match self.0.u8(..4) {
            0 => format!("postgres://app:{password}@db.internal:5432/orders"),
            1 => format!("DB_PASSWORD={password}"),
            2 => format!("password: \"{password}\""),
            _ => format!("https://x.y/z?api_key={password}&a=b"),
        };
        (text, password)
    }

    fn email(&mut self) -> String {
        let local = self.text("abcdefghijklmnopqrstuvwxyz0123456789", 8);
        let more = ["", ".x", "+tag", "_y", "-z"][self.0.usize(..5)];
        let last = ["com", "co.uk", "io", "museum"][self.0.usize(..4)];
        format!("{local}{more}@{}.{last}", self.text("abcdefghijk", 9))
    }

    fn token(&mut self) -> String {
        let before = ["ghp_", "gho_", "github_pat_", "glpat-", "xoxb-1", "sk_live_", "npm_"][self.0.usize(..7)];
        format!("{before}{}", self.text(Self::ALNUM, 36))
    }

    /// What goes into a line, and what of it may not come through.
    fn secret(&mut self, preset: Preset) -> (String, String) {
        let whole = match preset {
            Preset::AwsKeys => return self.aws_key(),
            Preset::Bearer => return self.bearer(),
            Preset::PrivateKey => return self.private_key(),
            Preset::Passwords => return self.password(),
            Preset::Email => self.email(),
            Preset::Card => self.card(),
            Preset::Ip => self.address(),
            Preset::Tokens => self.token(),
        };
        (whole.clone(), whole)
    }

    /// An ordinary line around a secret, in one of the ways in which services write them.
    fn line(&mut self, secret: &str) -> String {
        let text = format!("GET /api/orders took 12ms for {secret}, status=200 (req 3f2a)");
        match self.0.u8(..9) {
            0 => serde_json::json!({"level": "info", "message": text, "n": 1}).to_string(),
            7 => {
                serde_json::json!({"path": format!("/orders?q={}&page=2", encoded(secret)), "status": 200}).to_string()
            }
            8 => {
                // A URL within a URL, and JSON in its query.
                let query = encoded(&serde_json::json!({"q": secret}).to_string());
                serde_json::json!({"referer": format!("https://x.y/go?to={}", encoded(&format!("/a?filter={query}")))})
                    .to_string()
            }
            1 => serde_json::json!({"level": "info", "user": {"what": secret, "deep": [{"x": [text]}]}}).to_string(),
            2 => {
                // JSON within text.
                let inner = serde_json::json!({"message": text}).to_string();
                serde_json::json!({"log": format!("{inner}\n"), "stream": "stdout"}).to_string()
            }
            3 => {
                let inner = serde_json::json!({"message": text}).to_string();
                let middle = serde_json::json!({"log": inner}).to_string();
                serde_json::json!({"log": middle}).to_string()
            }
            // Every character as an escape.
            4 => format!(
                "{{\"message\":\"{}\"}}",
                text.encode_utf16().fold(String::new(), |mut out, unit| {
                    write!(out, "\\u{unit:04x}").unwrap();
                    out
                })
            ),
            5 => serde_json::json!({"names": {secret: 1}, secret: 2}).to_string().replace('/', "\\/"),
            _ => serde_json::json!({"message": text})
                .to_string()
                .replace('@', "\\u0040")
                .replace(['-', ':'], "\\u002d")
                .replace("\"message\"\\u002d", "\"message\":"),
        }
    }
}

/// As forms and browsers write it: everything but letters and digits as a percent sign and two digits, and now and then a blank as a plus.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' if text.len().is_multiple_of(2) => out.push('+'),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}

/// All that a reader could make of a line, however often it was packed.
fn readings(line: &str) -> Vec<String> {
    let mut readings = vec![line.to_owned()];
    while let Some(view) = View::next(readings.last().unwrap()).filter(|_| readings.len() < 9) {
        readings.push(view.text);
    }
    readings
}

#[test]
fn of_a_thousand_secrets_of_each_kind_none_comes_through() {
    for (name, preset) in Preset::ALL {
        let alone = redact(&[preset]);
        let mut maker = Maker(fastrand::Rng::with_seed(2026));
        for n in 0..1000 {
            let (text, secret) = maker.secret(preset);
            let mut line = maker.line(&text);
            // A line in which the secret is no secret any more is not one that hides it.
            if !readings(&line).iter().any(|reading| reading.contains(&text)) {
                line = serde_json::json!({"message": format!("x {text} y")}).to_string();
            }
            for redact in [&alone, &ALL] {
                let raw = format!("GET /x took 12ms for {text}; status=200");
                let mut event = Event::default();
                event.push("message", Value::text(&raw));
                redact.apply((&mut redact.open_keys(), &mut String::new()), &mut event, &Context::default());
                assert!(!rendered(&event).contains(&secret), "{name} {n}: {raw}");
                let out = covered(redact, &line);
                serde_json::from_str::<Json>(&out).unwrap_or_else(|error| panic!("{name} {n}: {error}: {out}"));
                for reading in readings(&out) {
                    assert!(!reading.contains(&secret), "{name} {n}: {line}\n{out}");
                }
            }
        }
    }
}

#[test]
fn lines_without_secrets_stay_as_they_are() {
    for line in [
        r#"{"level":"info","message":"GET /api/v1/users/17 200 12ms","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","ts":1764356777123}"#,
        r#"{"m":"commit da39a3ee5e6b4b0d3255bfef95601890afd80709","v":"1.2.3","t":"2026-11-28T19:26:15.123456789Z"}"#,
        r#"{"m":"java.lang.IllegalStateException: at com.example.Foo$Bar.baz(Foo.java:17)\n\tat x.Y@1a2b3c","n":[1.5e300,-0,null,true]}"#,
        r#"{"agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"}"#,
        r#"{"m":"Failed password for root, basic authentication, bearer token missing, secret not found, aws region eu-west-1"}"#,
        r#"{"uuid":"123e4567-e89b-12d3-a456-426614174000","order":"2026-0001-0002-0003","mac":"00:1b:44:11:3a:b7","f":0.4111111111111111}"#,
    ] {
        let mut event = event(line);
        assert!(
            !ALL.apply((&mut ALL.open_keys(), &mut String::new()), &mut event, &Context::default()),
            "{}",
            rendered(&event)
        );
        assert_eq!(event.raw_fields().count(), event.len());
    }
}

#[test]
fn numbers_names_and_named_fields() {
    for (before, after) in [
        (r#"{"card":4111111111111111,"n":12}"#, r#"{"card":"***","n":12}"#),
        (
            r#"{"a":{"password":12345,"Authorization":["Bearer","Basic x"],"secret":null}}"#,
            r#"{"a":{"password":"***","Authorization":["***","Basic x"],"secret":null}}"#,
        ),
        (r#"{"a":{"bob@x.com":1}}"#, r#"{"a":{"***":1}}"#),
        (r#"{"bob@x.com":1}"#, r#"{"***":1}"#),
        (r#"{"password":"x \" y"}"#, r#"{"password":"***"}"#),
        (r#"{"m":"a\nbob@x.com\tb"}"#, r#"{"m":"a\n***\tb"}"#),
        (r#"{"m":"{\"e\":\"a\\nbob@x.com\\\"\"}"}"#, r#"{"m":"{\"e\":\"a***\\\"\"}"}"#),
    ] {
        assert_eq!(covered(&ALL, before), after, "{before}");
    }
}

#[test]
fn fields_are_covered_or_removed_by_their_names() {
    let line = r#"{"user":{"Name":"ann","tags":["x"],"id":1},"name":"bob","keep":{"a":{"name":2,"b":3}}}"#;
    let mask = With::Mask("-".to_owned());
    assert_eq!(
        covered(&fields(&["name"], mask.clone()), line),
        r#"{"user":{"Name":"-","tags":["x"],"id":1},"name":"-","keep":{"a":{"name":"-","b":3}}}"#
    );
    assert_eq!(
        covered(&fields(&["user.*", "keep.a.b"], mask), line),
        r#"{"user":{"Name":"-","tags":"-","id":"-"},"name":"bob","keep":{"a":{"name":2,"b":"-"}}}"#
    );
    assert_eq!(covered(&fields(&["name", "tags", "id"], With::Remove), line), r#"{"user":{},"keep":{"a":{"b":3}}}"#);
    assert_eq!(covered(&fields(&["tags"], With::Remove), line), line.replace(r#","tags":["x"]"#, ""));
    let hashed = covered(&fields(&["name"], With::Hash { salt: "s".to_owned() }), r#"{"a":{"name":"x"},"name":"x"}"#);
    let json: Json = serde_json::from_str(&hashed).unwrap();
    assert!(json["name"] == json["a"]["name"] && json["name"].as_str().unwrap().starts_with("hash:"), "{hashed}");
}

#[test]
fn patterns_of_ones_own() {
    let patterns = [r"\d{3}-\d{2}-\d{4}".to_owned(), String::new(), "secret-[a-z]+".to_owned()];
    let redact = Redact::new(&[], &patterns, Vec::new(), With::Mask("[X]".to_owned())).unwrap();
    assert_eq!(
        covered(&redact, r#"{"m":"ssn 123-45-6789, secret-abc","secret-x":1}"#),
        r#"{"m":"ssn [X], [X]","[X]":1}"#
    );
    let removed = Redact::new(&[], &patterns, Vec::new(), With::Remove).unwrap();
    assert_eq!(covered(&removed, r#"{"m":"ssn 123-45-6789!"}"#), r#"{"m":"ssn !"}"#);
    let error = Redact::new(&[], &["(".to_owned()], Vec::new(), With::Remove).unwrap_err();
    assert!(error.index == 0 && !error.why.contains('\n'));
}

#[test]
fn a_private_key_over_several_events_is_covered_to_its_end() {
    let redact = redact(&[Preset::PrivateKey]);
    let mut keys = redact.open_keys();
    let mut go = |path: &str, line: &str| {
        let mut event = Event::default();
        event.push("message", Value::text(line));
        event.push("level", Value::text("info"));
        let at = Context { path, ..Context::default() };
        redact.apply((&mut keys, &mut String::new()), &mut event, &at);
        event.get("message").unwrap().as_str().into_owned()
    };
    assert_eq!(go("/a", "starting"), "starting");
    assert_eq!(go("/a", "key: -----BEGIN RSA PRIVATE KEY-----"), "key: ***");
    assert_eq!(go("/b", "MIIEow"), "MIIEow");
    for line in ["Proc-Type: 4,ENCRYPTED", "MIIEowIBAAKCAQEA", "abc=", "-----END RSA PRIVATE KEY-----"] {
        assert_eq!(go("/a", line), "***");
    }
    assert_eq!(go("/a", "done"), "done");
    assert_eq!(go("/a", "-----BEGIN PRIVATE KEY-----"), "***");
    assert_eq!(go("/a", "went on: elsewhere"), "went on: elsewhere");
    assert_eq!(go("/a", "plain"), "plain");
}

proptest! {
    #[test]
    fn whatever_comes_is_json_and_not_much_longer(
        object in crate::transform::tests::object(),
        secret in "[a-z@.\\\\\"é]{0,9}(a@b.cc|4111111111111111|10.0.0.1|password=x|Bearer a1b2c3d4|::1)[\\\\\"a]{0,3}",
        depth in 0_usize..4,
        pretty in any::<bool>(),
    ) {
        let mut text = secret;
        for _ in 0..depth {
            text = serde_json::json!({"m": text, "n": [1]}).to_string();
        }
        let json = serde_json::json!({"a": object, "b": text});
        let line = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
        let out = covered(&ALL, &line);
        let parsed: Json = serde_json::from_str(&out).unwrap();
        prop_assert!(parsed.is_object());
        prop_assert!(out.len() <= line.len() * 4);
        // The quick look says nothing else than the thorough one.
        let mut scratch = String::new();
        if glance::finds_nothing(&ALL, &event(&line), &mut scratch) {
            prop_assert!(event(&line).fields().iter().all(|(name, value)| ALL.value(name, value).is_none()));
        }
        for with in [With::Remove, With::Hash { salt: "x".to_owned() }] {
            let redact = Redact::new(&[Preset::Email, Preset::Ip], &["[a-c]".to_owned()], vec![Glob::new("a*"), Glob::new("*.b")], with).unwrap();
            let out = covered(&redact, &line);
            prop_assert!(serde_json::from_str::<Json>(&out).is_ok(), "{}", out);
        }
    }

    #[test]
    fn text_grows_by_a_mask_for_two_characters_at_most(text in "[a1]{0,60}") {
        let redact = Redact::new(&[], &["1".to_owned()], Vec::new(), With::Mask("x".repeat(With::MAX_MASK_BYTES))).unwrap();
        let out = redact.text(&text, "", false).unwrap_or_default();
        prop_assert!(out.len() <= text.len() + text.len().div_ceil(2) * With::MAX_MASK_BYTES);
    }
}
