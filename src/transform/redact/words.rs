//! Secrets that words give away: `AKIA...`, `Bearer ...`, `password=...`, `-----BEGIN PRIVATE KEY-----`; and fields whose names do.

use std::ops::Range;

use regex::Regex;

use super::Preset;

/// What gives a secret away, and where the secret is.
#[derive(Debug, Clone)]
struct Rule {
    preset: Preset,
    /// The first of its groups that is there is the secret; the whole if it has none.
    regex: Regex,
    /// Whether it looks like one, and not like a word.
    is_secret: Looks,
}

/// The rules of some presets, and the one expression that nothing passes in which none of them could find anything.
#[derive(Debug, Clone)]
pub(super) struct Words {
    gate: Option<Regex>,
    rules: Vec<Rule>,
    /// What secret keys of AWS are looked for beside.
    aws: Option<Regex>,
    names: Names,
}

/// Which fields are secrets by their names.
#[derive(Debug, Clone, Copy)]
struct Names {
    passwords: bool,
    authorization: bool,
    aws: bool,
}

/// Words without which no rule of a preset finds anything.
const GATES: [(Preset, &str); 5] = [
    (Preset::AwsKeys, "AKIA|ASIA|ABIA|ACCA|(?i-u:secret|aws|session|security)"),
    (Preset::Bearer, "eyJ|(?i-u:bearer|basic|authorization)"),
    (Preset::PrivateKey, "-BEGIN|- BEGIN"),
    (
        Preset::Tokens,
        "gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-|slack\\.com|[sr]k_live_|[sr]k_test_|AIza|npm_|SG\\.|sk-|dop_v1|pypi-|ya29",
    ),
    (Preset::Passwords, "://|(?i-u:passw|passphrase|passcode|pwd|secret|api[_-]?key|token)"),
];

/// Whether a text looks like a secret.
type Looks = fn(&str) -> bool;

/// What speaks of keys of AWS.
const AWS: &str = "AKIA|ASIA|(?i-u:secret|aws)";

const RULES: [(Preset, &str, Looks); 16] = [
    (Preset::AwsKeys, r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)", always),
    (
        Preset::AwsKeys,
        r#"(?i)(?:session|security)[-_. ]?token["'`]?\s{0,4}[=:]\s{0,4}["'`]?([a-z0-9/+=%_-]{60,})"#,
        always,
    ),
    (Preset::Bearer, r#"(?i)(?-u:\b)bearer(?:[\s+]+|\s{0,3}[:=]\s{0,3})["'`]?([a-z0-9._~+/-]{8,}=*)"#, is_no_word),
    (Preset::Bearer, r"(?-u:\b)eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){1,3}", always),
    (Preset::Bearer, r"(?i)(?-u:\b)basic[\s+]+([a-z0-9+/_-]{4,}={0,2})", is_user_and_password),
    (
        Preset::Bearer,
        r#"(?i)authorization["'`]?\s{0,3}[=:]\s{0,3}["'`]?(?:(?:token|apikey|key|bot|digest|negotiate|ntlm|bearer|basic)\s+)?([^\s"'`,;]{8,})"#,
        is_no_word,
    ),
    (
        Preset::PrivateKey,
        r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}(?s:.*?)(?:-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}|\z)",
        always,
    ),
    (
        Preset::Tokens,
        r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,})",
        always,
    ),
    (Preset::Tokens, r"(?-u:\b)(?:xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})", always),
    (Preset::Tokens, r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)", always),
    (
        Preset::Tokens,
        r"(?-u:\b)(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36})",
        always,
    ),
    (Preset::Tokens, r"(?-u:\b)(?:SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{20,})", is_no_word),
    (Preset::Tokens, r"(?-u:\b)(?:dop_v1_[a-f0-9]{64}|pypi-[A-Za-z0-9_-]{50,}|ya29\.[A-Za-z0-9_-]{20,})", always),
    (Preset::Passwords, r#"(?i)[a-z][a-z0-9+.-]{1,20}://[^\s/?#:@"'<>]{0,256}:([^\s/?#"'<>]{1,256})@"#, always),
    (
        Preset::Passwords,
        r#"(?i)(?:password|(?:^|[^h])passwr?d|passphrase|passcode|pwd|client[_-]?secret|secret[_-]?key|api[_-]?key|(?:access|refresh|auth|private|id)[_-]?token)["'`\]]{0,2}\s{0,3}(?:=>|[=:])\s{0,3}(?:"([^"]+)"|'([^']+)'|([^\s"',;&)}\]]+))"#,
        is_value,
    ),
    (
        Preset::Passwords,
        r#"(?i)--?(?:password|passwd|api-key|secret|token)[ =]["']?([^\s"',;&-][^\s"',;&]*)"#,
        is_value,
    ),
];

fn always(_: &str) -> bool {
    true
}

/// Whether it is long, or has what words have not.
fn is_no_word(text: &str) -> bool {
    let is_mixed = text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().skip(1).any(|b| b.is_ascii_uppercase());
    text.len() >= 24 || is_mixed || text.bytes().any(|b| b.is_ascii_digit())
}

fn is_user_and_password(text: &str) -> bool {
    let bytes: Vec<u8> = text
        .bytes()
        .filter(|b| *b != b'=')
        .map(|b| {
            if b == b'-' {
                b'+'
            } else if b == b'_' {
                b'/'
            } else {
                b
            }
        })
        .collect();
    // Three of four characters' bits are whole bytes whatever the last ones are.
    let whole = bytes.len() / 4 * 4;
    let mut decoded = base64_simd::STANDARD_NO_PAD.decode_to_vec(&bytes[..whole]).unwrap_or_default();
    decoded.extend(base64_simd::STANDARD_NO_PAD.decode_to_vec(&bytes[whole..]).unwrap_or_default());
    decoded.contains(&b':') && decoded.iter().all(|b| *b >= b' ' && *b != 0x7f)
}

/// Whether somebody could mean it as a secret: not nothing, not what stands for one already, not the working directory.
fn is_value(text: &str) -> bool {
    let nothing = ["null", "nil", "none", "true", "false", "undefined", "yes", "no"];
    // `[FILTERED]` and its like, of which a bracket at the end is none of the value.
    let masks = ["[filtered", "[redacted", "[masked", "[hidden", "<redacted>", "<hidden>"];
    let nothing = nothing.iter().chain(&masks);
    let is_sign = text.len() == 1 && !text.bytes().all(|b| b.is_ascii_alphanumeric());
    !is_sign
        && !nothing.clone().any(|word| word.eq_ignore_ascii_case(text.trim_end_matches(']')))
        && !text.starts_with('/')
        && !text.bytes().all(|b| b == b'*')
}

impl Words {
    pub(super) fn new(presets: &[Preset]) -> Self {
        let gates: Vec<&str> =
            GATES.iter().filter(|(preset, _)| presets.contains(preset)).map(|(_, words)| *words).collect();
        // They are constants, and a test reads them all.
        let gate = if gates.is_empty() { None } else { Regex::new(&gates.join("|")).ok() };
        let rules =
            RULES.iter().filter(|(preset, ..)| presets.contains(preset)).filter_map(|(preset, regex, is_secret)| {
                Some(Rule { preset: *preset, regex: Regex::new(regex).ok()?, is_secret: *is_secret })
            });
        let has = |preset| presets.contains(&preset);
        let aws = if has(Preset::AwsKeys) { Regex::new(AWS).ok() } else { None };
        let names =
            Names { passwords: has(Preset::Passwords), authorization: has(Preset::Bearer), aws: has(Preset::AwsKeys) };
        Self { gate, rules: rules.collect(), aws, names }
    }

    /// Whether there is a word without which neither a text nor a name is a secret.
    pub(super) fn could_be_in(&self, text: &str) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_match(text))
    }

    /// Says where secrets are in a text.
    pub(super) fn find(&self, text: &str, found: &mut impl FnMut(Preset, Range<usize>)) {
        if text.len() < 6 || !self.could_be_in(text) {
            return;
        }
        for rule in &self.rules {
            for captures in rule.regex.captures_iter(text) {
                let group = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0));
                if let Some(group) = group.filter(|group| (rule.is_secret)(group.as_str())) {
                    found(rule.preset, group.range());
                }
            }
        }
        if self.aws.as_ref().is_some_and(|aws| aws.is_match(text)) {
            secret_keys(text, found);
        }
    }

    /// Where the secret is in the value of a field, if the field's name says that it is one.
    pub(super) fn by_name(&self, name: &str, value: &str) -> Option<(Preset, Range<usize>)> {
        let last = name.bytes().next_back()?.to_ascii_lowercase();
        if !matches!(last, b'd' | b'e' | b't' | b'y' | b'n') || name.len() > 64 || value.is_empty() {
            return None;
        }
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let ends = |words: &[&str]| words.iter().any(|word| plain.ends_with(word));
        if self.names.authorization && ends(&["authorization"]) {
            let start = value.rfind(' ').map_or(0, |at| at + 1);
            let start = if value.contains('=') && value.matches(' ').count() > 1 { 0 } else { start };
            return value.get(start..).filter(|secret| secret.len() >= 4).map(|_| (Preset::Bearer, start..value.len()));
        }
        if self.names.aws && ends(&["secretaccesskey", "secretkey", "sessiontoken"]) && value.len() >= 16 {
            return Some((Preset::AwsKeys, 0..value.len()));
        }
        let is_password = self.names.passwords
            && ends(&[
                "password",
                "passwd",
                "passphrase",
                "passcode",
                "pwd",
                "secret",
                "secretkey",
                "apikey",
                "accesstoken",
                "refreshtoken",
                "authtoken",
                "privatetoken",
                "idtoken",
                "secretaccesskey",
            ]);
        (is_password && is_value(value)).then_some((Preset::Passwords, 0..value.len()))
    }
}

/// Secret access keys: 40 characters of base64 that are no SHA-1, where something else speaks of keys.
fn secret_keys(text: &str, found: &mut impl FnMut(Preset, Range<usize>)) {
    let bytes = text.as_bytes();
    let is_of_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+');
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|b| is_of_key(**b)).count();
        let key = &bytes[at..at + len];
        if len == 40
            && bytes.get(at + len) != Some(&b'=')
            && !key.iter().all(u8::is_ascii_hexdigit)
            && key.iter().any(u8::is_ascii_uppercase)
            && key.iter().any(u8::is_ascii_lowercase)
            && memchr::memchr_iter(b'/', key).count() <= 8
        {
            found(Preset::AwsKeys, at..at + len);
        }
        at += len + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(preset: Preset, text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        Words::new(&[preset]).find(text, &mut |_, range| all.push(text.get(range).unwrap()));
        all
    }

    #[test]
    fn all_rules_are_regular_expressions() {
        let all = Preset::ALL.map(|(_, preset)| preset);
        let words = Words::new(&all);
        assert!(words.gate.is_some());
        assert_eq!(words.rules.len(), RULES.len());
    }

    #[test]
    fn keys_of_aws() {
        let text = "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        assert_eq!(found(Preset::AwsKeys, text), ["AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"]);
        assert!(found(Preset::AwsKeys, "aws commit da39a3ee5e6b4b0d3255bfef95601890afd80709 AKIASHORT").is_empty());
    }

    #[test]
    fn authorization() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (text, secret) in [
            (format!("token {jwt} ok"), jwt),
            ("Authorization: Bearer abc123-._~+/==, x".to_owned(), "abc123-._~+/=="),
            ("bearer=AbCdEfGhIj".to_owned(), "AbCdEfGhIj"),
            ("?h=Bearer+AbCdEfGhIj&x=1".to_owned(), "AbCdEfGhIj"),
            ("Authorization: Basic dXNlcjpwYXNz".to_owned(), "dXNlcjpwYXNz"),
            (
                "authorization=Token 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b".to_owned(),
                "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b",
            ),
        ] {
            assert!(found(Preset::Bearer, &text).contains(&secret), "{text}: {:?}", found(Preset::Bearer, &text));
        }
        for text in [
            "bearer authentication failed",
            "Basic authentication is off",
            "authorization: denied",
            "basic settings loaded",
        ] {
            assert!(found(Preset::Bearer, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn passwords_and_tokens() {
        for (text, secret) in [
            ("postgres://app:s3cr3t@db:5432/x", "s3cr3t"),
            ("DB_PASSWORD=hunter2&x=1", "hunter2"),
            ("{\"password\": \"a b,c\"}", "a b,c"),
            ("mysql --password='x y' -u", "x"),
            ("api_key => 'k1'", "k1"),
        ] {
            assert!(found(Preset::Passwords, text).contains(&secret), "{text}: {:?}", found(Preset::Passwords, text));
        }
        for text in [
            "Failed password for root from 10.0.0.1",
            "PWD=/root",
            "password: null",
            "http://host:8080/a@b",
            "bad password: {\"email\":1}",
            "pam_unix(chpasswd:auth)",
            "password=***",
            r#"GET "/ok?password=[FILTERED]&a=b""#,
            r#"{"password"=>"[FILTERED]"}"#,
        ] {
            assert!(found(Preset::Passwords, text).is_empty(), "{text}: {:?}", found(Preset::Passwords, text));
        }
        let token = format!("ghp_{}", "a1B2".repeat(9));
        assert_eq!(found(Preset::Tokens, &format!("x {token}.")), [token]);
        let words = Words::new(&[Preset::Passwords, Preset::Bearer, Preset::AwsKeys]);
        assert_eq!(words.by_name("userPassword", "x").map(|(_, r)| r), Some(0..1));
        assert_eq!(words.by_name("Authorization", "Custom abcd").map(|(_, r)| r), Some(7..11));
        assert_eq!(words.by_name("AWS_SECRET_ACCESS_KEY", &"x".repeat(40)).map(|(_, r)| r), Some(0..40));
        assert!(words.by_name("message", "x").is_none() && words.by_name("password", "null").is_none());
    }

    #[test]
    fn private_keys_with_and_without_an_end() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(Preset::PrivateKey, &format!("a {key} b")), [key]);
        assert_eq!(
            found(Preset::PrivateKey, "-----BEGIN PRIVATE KEY-----\nMIIE"),
            ["-----BEGIN PRIVATE KEY-----\nMIIE"]
        );
        assert!(found(Preset::PrivateKey, "-----BEGIN CERTIFICATE-----\nMIIE").is_empty());
    }
}
