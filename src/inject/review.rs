//! An `AdmissionReview` (admission.k8s.io/v1): the question, and the answer to it. A pod is always allowed; what stands in the answer besides is the patch,
//! and what its owner should know.

use base64_simd::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::annotations::{self, INJECT};
use super::injection::{has_ours, inject, is_injected};
use super::metrics::Outcome;
use super::pod::Pod;
use super::settings::{Policy, Settings};

/// The only version that there is an answer to.
const API_VERSION: &str = "admission.k8s.io/v1";
/// The API server cuts warnings after this, in characters.
const WARNING_CHARS: usize = 256;
/// More warnings than anybody reads.
const MAX_WARNINGS: usize = 8;
/// What the tree of a review may take. A body of 3 MiB can be one of hundreds, if it is nothing but brackets.
const MAX_TREE_BYTES: usize = 64 * 1024 * 1024;
/// What an object takes at least, and a value, in that tree.
const OBJECT_BYTES: usize = 700;
const VALUE_BYTES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    operation: String,
    #[serde(default)]
    kind: ObjectKind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectKind {
    group: String,
    version: String,
    #[serde(rename = "kind")]
    name: String,
}

/// The answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) outcome: Outcome,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    TooLarge(String),
    Malformed(String),
}

/// What is said about a pod.
#[derive(Debug)]
struct Verdict {
    outcome: Outcome,
    operations: Vec<Value>,
    warnings: Vec<String>,
}

impl Verdict {
    fn leave(outcome: Outcome) -> Self {
        Self { outcome, operations: Vec::new(), warnings: Vec::new() }
    }

    fn refuse(reason: &str) -> Self {
        Self { warnings: vec![format!("no sidecar: {reason}")], ..Self::leave(Outcome::Refused) }
    }
}

/// Answers a review.
pub(super) fn answer(settings: &Settings, body: &[u8]) -> Result<Answer, NoAnswer> {
    let tree = tree_bytes(body);
    if tree > MAX_TREE_BYTES {
        return Err(NoAnswer::TooLarge(format!(
            "a review that would take {tree} bytes when it is read is refused; at most {MAX_TREE_BYTES}"
        )));
    }
    let malformed = |reason: String| NoAnswer::Malformed(reason);
    let review: Review =
        serde_json::from_slice(body).map_err(|error| malformed(format!("this is no AdmissionReview: {error}")))?;
    if review.kind != "AdmissionReview" || review.api_version != API_VERSION {
        let reason = format!(
            "this is {} {}, and what is answered is AdmissionReview {API_VERSION}; set admissionReviewVersions: [v1]",
            review.kind, review.api_version
        );
        return Err(malformed(annotations::shortened(&reason)));
    }
    let request = review.request.ok_or_else(|| malformed("the review has no request".to_owned()))?;
    if request.uid.is_empty() {
        return Err(malformed("the request has no uid".to_owned()));
    }
    let (uid, is_dry) = (request.uid.clone(), request.dry_run.unwrap_or_default());
    let (namespace, name) = (request.namespace.clone(), Pod::of(&request.object).name());
    let verdict = judge(settings, request);
    log(&verdict, &namespace, &name, is_dry);
    Ok(Answer { outcome: verdict.outcome, body: rendered(&uid, verdict) })
}

fn log(verdict: &Verdict, namespace: &str, pod: &str, is_dry: bool) {
    let outcome = verdict.outcome.as_str();
    let warnings = verdict.warnings.join("; ");
    match verdict.outcome {
        Outcome::Refused => tracing::warn!(namespace, pod, is_dry, warnings, "a pod stays as it is"),
        Outcome::Injected => tracing::info!(namespace, pod, is_dry, warnings, "a pod gets what it asks for"),
        _ => tracing::debug!(namespace, pod, is_dry, outcome, warnings, "a pod is left alone"),
    }
}

/// What is to be done with what the request is about.
fn judge(settings: &Settings, request: Request) -> Verdict {
    let Request { operation, kind, sub_resource, namespace, object, .. } = request;
    let is_pod = kind.group.is_empty() && kind.version == "v1" && kind.name == "Pod" && sub_resource.is_empty();
    if operation != "CREATE" || !is_pod || Pod::of(&object).is_mirror() {
        return Verdict::leave(Outcome::Ignored);
    }
    if settings.exclude.contains(&namespace) {
        return Verdict::leave(Outcome::Excluded);
    }
    let pod = Pod::of(&object);
    let annotations = pod.annotations();
    match annotations::wanted(&annotations, &pod.labels()) {
        Err(problem) => return Verdict::refuse(&problem),
        Ok(Some(false)) => return Verdict::leave(Outcome::OptedOut),
        Ok(None) if settings.policy == Policy::Annotated => {
            let mut verdict = Verdict::leave(Outcome::NotAsked);
            // Somebody who wrote one of them meant something by it.
            if annotations.keys().any(|name| name.starts_with(annotations::PREFIX)) {
                verdict.warnings.push(format!(
                    "there are annotations for a sidecar, and none that asks for it; add {INJECT}: \"true\""
                ));
            }
            return verdict;
        }
        Ok(asked) if has_ours(settings, pod) => {
            let mut verdict = Verdict::leave(Outcome::AlreadyInjected);
            // Where every pod is given one, those with the library's are no mistake.
            if asked.is_some() && !is_injected(pod) {
                let warning = "the pod has a container of kinetail's name already, and gets no other one";
                verdict.warnings.push(warning.to_owned());
            }
            return verdict;
        }
        Ok(_) => {}
    }
    let wish = match annotations::read(&annotations) {
        Ok(wish) => wish,
        Err(problem) => return Verdict::refuse(&problem),
    };
    match inject(settings, object, &wish) {
        Ok((operations, warnings)) => Verdict { outcome: Outcome::Injected, operations, warnings },
        Err(reason) => Verdict::refuse(&reason),
    }
}

fn rendered(uid: &str, verdict: Verdict) -> Vec<u8> {
    let Verdict { outcome, operations, warnings } = verdict;
    let mut response = json!({"uid": uid, "allowed": true, "auditAnnotations": {"outcome": outcome.as_str()}});
    if let Some(fields) = response.as_object_mut() {
        if !operations.is_empty() {
            let patch = BASE64.encode_to_string(Value::Array(operations).to_string());
            fields.insert("patchType".to_owned(), json!("JSONPatch"));
            fields.insert("patch".to_owned(), json!(patch));
        }
        if !warnings.is_empty() {
            let warnings: Vec<String> = warnings.iter().take(MAX_WARNINGS).map(|warning| warned(warning)).collect();
            fields.insert("warnings".to_owned(), json!(warnings));
        }
    }
    json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}).to_string().into_bytes()
}

/// A warning as `kubectl` shows it: one line of a header.
fn warned(text: &str) -> String {
    let line = format!("kinetail: {text}").replace(|c: char| c.is_control(), " ");
    if line.chars().nth(WARNING_CHARS).is_none() {
        return line;
    }
    line.chars().take(WARNING_CHARS - 1).chain("…".chars()).collect()
}

/// How much the tree of a document can take, at most about.
fn tree_bytes(body: &[u8]) -> usize {
    let bytes = |byte: &u8| match byte {
        b'{' => OBJECT_BYTES,
        b',' | b'[' => VALUE_BYTES,
        _ => 1,
    };
    body.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_alone_are_too_much() {
        let settings = Settings::default();
        let objects = format!("[{}]", "{},".repeat(150_000));
        assert!(matches!(answer(&settings, objects.as_bytes()), Err(NoAnswer::TooLarge(_))));
        // What a large pod has is far from it.
        let annotation = "a".repeat(1024 * 1024);
        let container =
            json!({"name": "a", "env": [{"name": "a", "value": "b"}, {"name": "a"}], "resources": {"limits": {}}});
        let pod = json!({"metadata": {"annotations": {"a": annotation}}, "spec": {"containers": vec![container; 500]}});
        assert!(tree_bytes(pod.to_string().as_bytes()) < MAX_TREE_BYTES / 8);
    }

    #[test]
    fn warnings_are_short_and_one_line() {
        assert_eq!(warned("a\nb"), "kinetail: a b");
        let long = warned(&"ü".repeat(1000));
        assert_eq!(long.chars().count(), WARNING_CHARS);
        assert!(long.ends_with("ü…"));
    }
}
