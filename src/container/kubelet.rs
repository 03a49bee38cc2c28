//! What kubelet's paths say of the container that a file belongs to. Looks at names only.

use std::path::Path;

use serde_json::{Map, Value};

/// The length of a container's id.
const ID_CHARS: usize = 64;

/// The pod and container of a log file, under the names of Fluent Bit's kubernetes filter. `target` is what the path leads to if it is a link:
/// the links in `/var/log/containers` have the container's id in their names, and lead to files whose paths have the rest.
pub fn pod_of(path: &Path, target: Option<&Path>) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    let texts = |path: &Path| path.to_str().map(str::to_owned);
    for path in [target, Some(path)].into_iter().flatten().filter_map(texts) {
        let fields = in_pods(&path).or_else(|| in_containers(&path));
        for (name, value) in fields.into_iter().flatten() {
            found.entry(name).or_insert(value);
        }
    }
    (!found.is_empty()).then_some(found)
}

type Fields = Vec<(String, Value)>;

/// `…/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`, and whatever rotation appends to it.
fn in_pods(path: &str) -> Option<Fields> {
    let mut parts = path.rsplit('/');
    let (file, container, pod) = (parts.next()?, parts.next()?, parts.next()?);
    let mut names = pod.split('_');
    let (namespace, name, uid) = (names.next()?, names.next()?, names.next()?);
    let (restart, rest) = file.split_once(".log")?;
    let count: u64 = restart.parse().ok()?;
    let is_log = rest.is_empty() || rest.starts_with(['.', '-']);
    if !is_log
        || parts.next() != Some("pods")
        || names.next().is_some()
        || [namespace, name, uid, container].contains(&"")
    {
        return None;
    }
    Some(vec![
        ("pod_name".to_owned(), name.into()),
        ("namespace_name".to_owned(), namespace.into()),
        ("pod_id".to_owned(), uid.into()),
        ("container_name".to_owned(), container.into()),
        ("restart_count".to_owned(), count.into()),
    ])
}

/// `…/containers/<pod>_<namespace>_<container>-<id>.log`.
fn in_containers(path: &str) -> Option<Fields> {
    let mut parts = path.rsplit('/');
    let file = parts.next()?.strip_suffix(".log")?;
    let mut names = file.split('_');
    let (pod, namespace, last) = (names.next()?, names.next()?, names.next()?);
    let (container, id) = last.rsplit_once('-')?;
    let is_id = id.len() == ID_CHARS && id.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_id
        || parts.next() != Some("containers")
        || names.next().is_some()
        || [pod, namespace, container].contains(&"")
    {
        return None;
    }
    Some(vec![
        ("pod_name".to_owned(), pod.into()),
        ("namespace_name".to_owned(), namespace.into()),
        ("container_name".to_owned(), container.into()),
        ("container_id".to_owned(), id.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_names_the_pod() {
        let want = json!({
            "pod_name": "web-5d4f", "namespace_name": "shop", "pod_id": "49cc-7c1f", "container_name": "app", "restart_count": 1
        });
        for name in ["1.log", "1.log.20250219-233547", "1.log.20250219-233547.gz", "1.log-1"] {
            let path = format!("/var/log/pods/shop_web-5d4f_49cc-7c1f/app/{name}");
            assert_eq!(pod_of(Path::new(&path), None).map(Value::from), Some(want.clone()), "{path}");
        }
    }

    #[test]
    fn a_link_adds_the_containers_id() {
        let id = "0123456789abcdef".repeat(4);
        let link = format!("/var/log/containers/web-5d4f_shop_app-one-{id}.log");
        let short = json!({ "pod_name": "web-5d4f", "namespace_name": "shop", "container_name": "app-one", "container_id": id });
        assert_eq!(pod_of(Path::new(&link), None).map(Value::from), Some(short));
        let target = Path::new("/var/log/pods/shop_web-5d4f_49cc/app-one/0.log");
        let both = pod_of(Path::new(&link), Some(target)).unwrap();
        assert_eq!(
            (&both["pod_id"], &both["restart_count"], &both["container_id"]),
            (&json!("49cc"), &json!(0), &json!(id))
        );
    }

    #[test]
    fn other_paths_name_none() {
        for path in [
            "/var/log/app.log",
            "/var/log/pods/a_b_c/app/x.log",
            "/var/log/pods/a_b/app/0.log",
            "/var/log/pods/a_b_c_d/app/0.log",
            "/var/log/pods/a__c/app/0.log",
            "/var/log/pods/a_b_c/app/0.logs",
            "/var/log/other/a_b_c/app/0.log",
            "/var/log/containers/a_b_c-12.log",
        ] {
            assert_eq!(pod_of(Path::new(path), None), None, "{path}");
        }
    }
}
