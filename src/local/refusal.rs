//! A refusal: what the service answers when it doesn't do what a request asks, under the service's own codes.

use std::borrow::Cow;

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Refusal {
    /// `__type` of the answer.
    pub(crate) code: Cow<'static, str>,
    /// The HTTP status.
    pub(crate) status: u16,
    /// For people.
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal by code; the code decides the status.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let code = code.into();
        let status = status_of(&code);
        Self { code, status, message: message.into() }
    }

    /// The request's members make no sense together, or name something that can't be.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    /// A member breaks the constraints of the API's model.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// No such stream.
    pub(crate) fn no_stream(name: &str) -> Self {
        let account = super::ACCOUNT;
        Self::not_found(format!("Stream {name} under account {account} not found."))
    }

    /// Something that the request names doesn't exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    /// Something isn't in a state in which that can be done to it.
    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new("ResourceInUseException", message)
    }

    /// A quota.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new("LimitExceededException", message)
    }
}

/// The HTTP status that goes with a code: 400, except where the service itself is at fault or the body is too long.
pub(crate) fn status_of(code: &str) -> u16 {
    match code {
        "InternalFailure" | "InternalFailureException" | "InternalServerError" | "InternalError" => 500,
        "ServiceUnavailable" | "ServiceUnavailableException" => 503,
        "RequestEntityTooLargeException" => 413,
        _ => 400,
    }
}

/// Collects what a request's members violate, and words it as the service does.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<String>);

/// The service lists no more than this many violations of one request.
const MAX_VIOLATIONS: usize = 10;
/// A longer value is cut in a message, in characters: one record may be 10 MiB.
const MAX_SHOWN_CHARS: usize = 256;

impl Violations {
    /// Notes that `value` at `member` breaks `constraint`.
    pub(crate) fn add(&mut self, member: &str, value: &str, constraint: &str) {
        let shown: String = value.chars().take(MAX_SHOWN_CHARS).collect();
        self.push(format!("Value '{shown}' at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// Notes that `member` isn't there.
    pub(crate) fn missing(&mut self, member: &str) {
        self.push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
    }

    /// Checks the length of `value`, in characters.
    pub(crate) fn length(&mut self, member: &str, value: &str, min: usize, max: usize) {
        // Bytes are at least as many as characters: most values need no counting.
        if value.len() > max && value.chars().count() > max {
            self.add(member, value, &format!("Member must have length less than or equal to {max}"));
        } else if value.len() < min {
            self.add(member, value, &format!("Member must have length greater than or equal to {min}"));
        }
    }

    /// Checks that `value` lies in `min..=max`.
    pub(crate) fn range(&mut self, member: &str, value: i64, min: i64, max: i64) {
        if value > max {
            self.add(member, &value.to_string(), &format!("Member must have value less than or equal to {max}"));
        } else if value < min {
            self.add(member, &value.to_string(), &format!("Member must have value greater than or equal to {min}"));
        }
    }

    /// Checks that `value` is one of `allowed`.
    pub(crate) fn one_of(&mut self, member: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            let list = allowed.join(", ");
            self.add(member, value, &format!("Member must satisfy enum value set: [{list}]"));
        }
    }

    /// Checks a name against `[a-zA-Z0-9_.-]+`, 1 to 128 characters.
    pub(crate) fn name(&mut self, member: &str, value: &str) {
        self.length(member, value, 1, 128);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if !value.bytes().all(allowed) {
            self.add(member, value, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The refusal, if there is anything to refuse.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (count, plural) = (self.0.len(), if self.0.len() == 1 { "" } else { "s" });
        Err(Refusal::validation(format!("{count} validation error{plural} detected: {}", self.0.join("; "))))
    }

    fn push(&mut self, text: String) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_worded_as_the_service_words_them() {
        let mut violations = Violations::default();
        violations.missing("streamName");
        violations.range("limit", 0, 1, 100);
        let refusal = violations.finish().unwrap_err();
        assert_eq!(refusal.code, "ValidationException");
        assert_eq!(refusal.status, 400);
        assert_eq!(
            refusal.message,
            "2 validation errors detected: Value null at 'streamName' failed to satisfy constraint: Member must not be \
             null; Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
        );
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let mut violations = Violations::default();
        violations.length("partitionKey", &"ü".repeat(256), 1, 256);
        assert!(violations.is_empty());
        violations.length("partitionKey", &"ü".repeat(257), 1, 256);
        assert!(!violations.is_empty());
    }

    #[test]
    fn the_code_decides_the_status() {
        assert_eq!(Refusal::new("InternalFailure", "").status, 500);
        assert_eq!(Refusal::new("ServiceUnavailable", "").status, 503);
        assert_eq!(Refusal::new("AccessDeniedException", "").status, 400);
    }
}
