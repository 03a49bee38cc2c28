//! IAM statements, as they have to be pasted. Pure.

use serde_json::json;

/// What stands for an account that nothing says.
const SOME_ACCOUNT: &str = "ACCOUNT";

/// A policy that allows this on that.
pub fn allow(actions: &[&str], resource: &str) -> String {
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": resource});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// A stream's ARN, by its region and by somebody of its account.
pub fn stream_arn(stream: &str, region: &str, caller: Option<&str>) -> String {
    if stream.starts_with("arn:") {
        return stream.to_owned();
    }
    let account = caller.and_then(|arn| arn.split(':').nth(4)).filter(|account| !account.is_empty());
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!("arn:{partition}:kinesis:{region}:{}:stream/{stream}", account.unwrap_or(SOME_ACCOUNT))
}

/// The resource that a refusal names: what the service calls it is what a policy has to name.
pub fn named_resource(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("on resource: ")?;
    let arn = rest.split(|c: char| c.is_whitespace() || c == ',').next()?;
    arn.starts_with("arn:").then_some(arn)
}

/// The role of a session, which is what policies are attached to.
pub fn role_of(caller: &str) -> String {
    let session = caller.split_once(":assumed-role/");
    session
        .and_then(|(_, rest)| rest.split('/').next())
        .map_or_else(|| caller.to_owned(), |role| format!("the role {role}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_the_stream() {
        let arn = stream_arn("logs", "eu-west-1", Some("arn:aws:sts::123456789012:assumed-role/app/i-1"));
        assert_eq!(arn, "arn:aws:kinesis:eu-west-1:123456789012:stream/logs");
        assert_eq!(stream_arn("logs", "cn-north-1", None), "arn:aws-cn:kinesis:cn-north-1:ACCOUNT:stream/logs");
        assert_eq!(stream_arn(&arn, "us-east-1", None), arn);
        let policy: serde_json::Value = serde_json::from_str(&allow(&["kinesis:PutRecords"], &arn)).unwrap();
        assert_eq!(policy["Statement"][0]["Resource"], arn);
    }

    #[test]
    fn a_refusal_says_what_and_who() {
        let message = "User: arn:aws:sts::1:assumed-role/app/x is not authorized to perform: kinesis:PutRecords on resource: arn:aws:kinesis:eu-west-1:1:stream/a because no identity-based policy allows it";
        assert_eq!(named_resource(message), Some("arn:aws:kinesis:eu-west-1:1:stream/a"));
        assert_eq!(named_resource("no"), None);
        assert_eq!(role_of("arn:aws:sts::1:assumed-role/app/x"), "the role app");
        assert_eq!(role_of("arn:aws:iam::1:user/me"), "arn:aws:iam::1:user/me");
    }
}
