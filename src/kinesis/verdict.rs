//! What becomes of a record or a request, by the answer it got. A table and nothing else.

/// What to do with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same bytes again, after a backoff: too much was sent.
    Throttled,
    /// The same bytes again, after a backoff: something failed that will pass.
    Failed,
    /// Nothing of this stream goes through until somebody changes something: keep everything, ask again slowly.
    Hold,
    /// The service does not take these bytes: find the record it minds and set it aside.
    Reject,
}

/// How the answer to a whole request reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The service answered with an error; the HTTP status.
    Service(u16),
    /// There was no usable answer: a timeout, a broken connection, no name resolution, a body that makes no sense.
    Transport,
    /// The request could not be signed.
    Credentials,
}

/// The verdict on one record of a request that the service took (HTTP 200). Every code is a reason to resend: the documented ones are
/// `ProvisionedThroughputExceededException` and `InternalFailure`, and a code that comes later is no reason to lose a record.
pub fn on_record(code: &str) -> Verdict {
    match code {
        "ProvisionedThroughputExceededException" | "KMSThrottlingException" => Verdict::Throttled,
        _ => on_code(code).unwrap_or(Verdict::Failed),
    }
}

/// The verdict on a request that failed as a whole.
pub fn on_request(code: &str, origin: Origin) -> Verdict {
    match origin {
        Origin::Transport => Verdict::Failed,
        Origin::Credentials => Verdict::Hold,
        Origin::Service(status) => on_code(code).unwrap_or(match status {
            413 => Verdict::Reject,
            429 => Verdict::Throttled,
            408 | 500.. => Verdict::Failed,
            // An unknown refusal: resending the same would be refused again, and dropping is not ours to decide.
            _ => Verdict::Hold,
        }),
    }
}

fn on_code(code: &str) -> Option<Verdict> {
    Some(match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown" => Verdict::Throttled,
        "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "InternalServiceError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException" => Verdict::Failed,
        "ResourceNotFoundException"
        | "ResourceInUseException"
        | "AccessDenied"
        | "AccessDeniedException"
        | "NotAuthorized"
        | "OptInRequired"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired"
        | "DryRunOperationException"
        | "UnknownOperationException" => Verdict::Hold,
        code if on_credentials(code) => Verdict::Hold,
        "InvalidArgumentException"
        | "SerializationException"
        | "ValidationException"
        | "ValidationError"
        | "RequestEntityTooLarge" => Verdict::Reject,
        _ => return None,
    })
}

/// Whether the service minds the credentials: others may be at hand by now.
pub fn on_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
    )
}

/// What somebody has to do about a hold: the sentence that goes into the log and on `/status`.
pub fn way_out(code: &str) -> &'static str {
    match code {
        "ResourceNotFoundException" => {
            "the stream does not exist in this region and account: create it, or correct kinesis.stream, kinesis.region or kinesis.endpoint"
        }
        "ResourceInUseException" => "the stream is being created, updated or deleted: nothing to do if that ends soon",
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" => {
            "the role that this process runs under lacks kinesis:PutRecords on the stream: grant it"
        }
        "CredentialsNotFound" => {
            "no AWS credentials were found: give the pod or task a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        "CredentialsFailed" => {
            "the source of AWS credentials fails: see what it says; it is asked again until it answers"
        }
        "AssumeRoleFailed" => {
            "the role in kinesis.assume_role cannot be assumed: name the role that this process runs under in its trust policy (with the external id, if there is one), and grant that role sts:AssumeRole"
        }
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "the credentials have expired, or this machine's clock is wrong: renew them, or set the clock"
        }
        code if on_credentials(code) => {
            "the service does not accept the credentials: check the access key, the secret, the region and this machine's clock"
        }
        "InvalidArgumentException" | "SerializationException" | "ValidationException" | "ValidationError" => {
            "the service refuses every record so far: check kinesis.stream and kinesis.endpoint"
        }
        "AutoDistribution" => {
            "the stream's record distribution is AUTO, and its consumers would drop aggregated records silently: set it to USER_PARTITION_KEY, or set kinesis.format to lines or single"
        }
        "DeadLetterFile" => {
            "a record was refused and could not be put aside: free space in state_dir, or make it writable"
        }
        code if code.starts_with("KMS") => {
            "the stream's KMS key cannot be used: check the key's state and policy, and this role's kms:GenerateDataKey"
        }
        // What the client names by its status alone.
        code if code.starts_with("Http") => {
            "what answers is not the service: check kinesis.endpoint, and what lies between here and there"
        }
        _ => UNKNOWN_WAY_OUT,
    }
}

/// What is to be said of a code that nobody knows.
const UNKNOWN_WAY_OUT: &str = "the service refuses the requests: see the code";

/// The same, if it says more than the code does.
pub fn known_way_out(code: &str) -> Option<&'static str> {
    Some(way_out(code)).filter(|words| *words != UNKNOWN_WAY_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error that `PutRecords` is documented to answer with, the common errors of AWS, and what is neither.
    #[test]
    fn the_table() {
        let s = Origin::Service;
        for (code, origin, want) in [
            ("AccessDeniedException", s(400), Verdict::Hold),
            ("DryRunOperationException", s(400), Verdict::Hold),
            ("InternalFailureException", s(500), Verdict::Failed),
            ("InternalFailure", s(500), Verdict::Failed),
            ("InvalidArgumentException", s(400), Verdict::Reject),
            ("KMSAccessDeniedException", s(400), Verdict::Hold),
            ("KMSDisabledException", s(400), Verdict::Hold),
            ("KMSInvalidStateException", s(400), Verdict::Hold),
            ("KMSNotFoundException", s(400), Verdict::Hold),
            ("KMSOptInRequired", s(400), Verdict::Hold),
            ("KMSThrottlingException", s(400), Verdict::Throttled),
            ("ProvisionedThroughputExceededException", s(400), Verdict::Throttled),
            ("ResourceNotFoundException", s(400), Verdict::Hold),
            ("ValidationException", s(400), Verdict::Reject),
            ("SerializationException", s(400), Verdict::Reject),
            ("ExpiredTokenException", s(400), Verdict::Hold),
            ("UnrecognizedClientException", s(400), Verdict::Hold),
            ("LimitExceededException", s(400), Verdict::Throttled),
            ("ThrottlingException", s(400), Verdict::Throttled),
            ("ServiceUnavailable", s(503), Verdict::Failed),
            ("", s(502), Verdict::Failed),
            ("", s(429), Verdict::Throttled),
            ("", s(413), Verdict::Reject),
            ("SomethingNew", s(400), Verdict::Hold),
            ("SomethingNew", s(500), Verdict::Failed),
            ("Timeout", Origin::Transport, Verdict::Failed),
            ("CredentialsNotFound", Origin::Credentials, Verdict::Hold),
            ("AssumeRoleFailed", Origin::Credentials, Verdict::Hold),
        ] {
            assert_eq!(on_request(code, origin), want, "{code} {origin:?}");
        }
    }

    #[test]
    fn what_the_credentials_are_to_blame_for_waits_for_others() {
        for code in ["ExpiredTokenException", "UnrecognizedClientException", "SignatureDoesNotMatch"] {
            assert!(on_credentials(code));
            assert_eq!(on_request(code, Origin::Service(400)), Verdict::Hold, "{code}");
        }
        assert!(!on_credentials("AccessDeniedException"), "others would be of the same role");
    }

    #[test]
    fn a_refused_record_is_sent_again() {
        assert_eq!(on_record("ProvisionedThroughputExceededException"), Verdict::Throttled);
        for code in ["InternalFailure", "ServiceUnavailable", "SomethingNew"] {
            assert_eq!(on_record(code), Verdict::Failed, "{code}");
        }
        assert_eq!(on_record("KMSDisabledException"), Verdict::Hold);
        assert_eq!(on_record("InvalidArgumentException"), Verdict::Reject);
    }
}
