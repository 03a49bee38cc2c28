//! What the downward API says of this pod: variables, which never change, and files of labels and annotations, which do. It asks no API
//! server, and so needs no permission.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Field;

/// The object of the pod's labels.
pub(super) const LABELS: &str = "kubernetes.labels";
/// The object of the pod's annotations.
pub(super) const ANNOTATIONS: &str = "kubernetes.annotations";
/// Where examples mount the downward volume.
const VOLUME: &str = "/etc/podinfo";
/// The files in it, and the objects that they fill.
const FILES: [(&str, &str); 2] = [("labels", LABELS), ("annotations", ANNOTATIONS)];
/// The longest file that is read. Annotations may take 256 KiB, and each byte up to four when it is escaped.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The names of the variables that the pod's fields are in, as its `env` maps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variables {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub pod_name: String,
    /// `metadata.uid`.
    pub pod_uid: String,
    /// `status.podIP`.
    pub pod_ip: String,
    /// `spec.nodeName`.
    pub node_name: String,
}

impl Default for Variables {
    fn default() -> Self {
        let [namespace, pod_name, pod_uid, pod_ip, node_name] =
            ["POD_NAMESPACE", "POD_NAME", "POD_UID", "POD_IP", "NODE_NAME"].map(str::to_owned);
        Self { namespace, pod_name, pod_uid, pod_ip, node_name }
    }
}

/// What the downward API says, as it was last read.
#[derive(Debug)]
pub struct Downward {
    pod: Vec<Field>,
    volume: Option<PathBuf>,
    /// Of each of [`FILES`].
    files: [Vec<Field>; 2],
    seen: Seen,
}

/// What tells that a volume's files are not the ones that were read. The kubelet writes all of them to a new directory and lets the link
/// `..data` point there, so that its target is enough; a volume mounted by `subPath` has no such link and is never updated, and what somebody
/// else writes has a time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    target: Option<PathBuf>,
    files: [Option<(SystemTime, u64)>; 2],
}

/// A file that could not be used; the fields of it that are known stay.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("it is longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error("line {0} is not like key=\"value\"")]
    Line(usize),
}

impl Downward {
    /// The fields of variables, and of a volume if there is one.
    pub fn find(variables: &Variables, volume: Option<PathBuf>, env: impl Fn(&str) -> Option<String>) -> Self {
        let of = [
            ("namespace", &variables.namespace),
            ("pod_name", &variables.pod_name),
            ("pod_uid", &variables.pod_uid),
            ("pod_ip", &variables.pod_ip),
            ("node_name", &variables.node_name),
        ];
        let pod = of.into_iter().filter_map(|(key, variable)| {
            Some(Field::new("kubernetes", key, env(variable).filter(|value| !value.is_empty())?))
        });
        // A volume that is configured may come later; one that nobody spoke of is there from the beginning or never.
        let volume = volume.or_else(|| Some(PathBuf::from(VOLUME)).filter(|volume| volume.is_dir()));
        let mut found = Self { pod: pod.collect(), volume, files: <[_; 2]>::default(), seen: Seen::default() };
        found.look();
        found
    }

    /// Whether there is nothing here, as outside of Kubernetes.
    pub fn is_empty(&self) -> bool {
        self.pod.is_empty() && self.volume.is_none()
    }

    /// Whether another look may find something else.
    pub fn can_change(&self) -> bool {
        self.volume.is_some()
    }

    /// What is known, in the order of [`super::NAMES`], then labels and annotations.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.pod.iter().chain(self.files.iter().flatten()).cloned()
    }

    /// Reads the volume's files if they are not the ones that were read. Whether the fields are others now. The files are small and the
    /// kubelet keeps them in memory, so that this holds nobody up.
    pub fn look(&mut self) -> bool {
        let Some(volume) = &self.volume else { return false };
        // Seen before it is read: what is swapped meanwhile is another one at the next look.
        let seen = Seen::at(volume);
        if seen == self.seen {
            return false;
        }
        let mut changed = false;
        for ((file, object), known) in FILES.into_iter().zip(&mut self.files) {
            let path = volume.join(file);
            match read(&path, object) {
                Ok(fields) => changed |= std::mem::replace(known, fields.clone()) != fields,
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a file of the downward API cannot be used; what was last read of it stays");
                }
            }
        }
        self.seen = seen;
        changed
    }
}

impl Seen {
    fn at(volume: &Path) -> Self {
        let file = |name: &str| {
            let file = std::fs::metadata(volume.join(name)).ok()?;
            Some((file.modified().ok()?, file.len()))
        };
        Self { target: std::fs::read_link(volume.join("..data")).ok(), files: FILES.map(|(name, _)| file(name)) }
    }
}

/// The fields of a file; none if there is no such file, since a volume need not have both.
fn read(path: &Path, object: &'static str) -> Result<Vec<Field>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(Error::TooLong);
    }
    parse(&String::from_utf8_lossy(&text), object)
}

/// The fields of a file's text: a line for each, its key, a `=` and its value in quotes as Go writes them.
fn parse(text: &str, object: &'static str) -> Result<Vec<Field>, Error> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(at, line)| {
            let field = || {
                let (key, value) = line.split_once('=')?;
                let value = unquote(value.strip_prefix('"')?.strip_suffix('"')?)?;
                (!key.is_empty()).then(|| Field::new(object, key.to_owned(), value))
            };
            field().ok_or(Error::Line(at + 1))
        })
        .collect()
}

/// The text that Go has quoted; none if it has not. Bytes that were no UTF-8 become replacement characters, since JSON has no place for them.
fn unquote(quoted: &str) -> Option<String> {
    let mut out = Vec::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => return None,
            '\\' => escaped(&mut rest, &mut out)?,
            c => push(&mut out, c),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// What follows a backslash.
fn escaped(rest: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let byte = match rest.next()? {
        'x' => u8::try_from(number(rest, 2)?).ok()?,
        'u' => return char::from_u32(number(rest, 4)?).map(|c| push(out, c)),
        'U' => return char::from_u32(number(rest, 8)?).map(|c| push(out, c)),
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 11,
        'f' => 12,
        'r' => b'\r',
        '"' => b'"',
        '\\' => b'\\',
        _ => return None,
    };
    out.push(byte);
    Some(())
}

/// The number in so many hexadecimal digits.
fn number(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0_u32, |number, _| number.checked_mul(16)?.checked_add(rest.next()?.to_digit(16)?))
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go's `%q` makes of a text, by hand.
    #[test]
    fn values_are_unquoted_as_go_quotes_them() {
        for (quoted, value) in [
            (r"", Some("")),
            (r"web-1", Some("web-1")),
            (r#"{\"a\":[1,\"b\\n\"]}"#, Some("{\"a\":[1,\"b\\n\"]}")),
            (r"two\nlines\ttab\r\a\b\f\v", Some("two\nlines\ttab\r\u{7}\u{8}\u{c}\u{b}")),
            ("grün 日本", Some("grün 日本")),
            (r"\u200b\U0001f600\x7f", Some("\u{200b}😀\u{7f}")),
            (r"\xff\xc3\xa4", Some("\u{fffd}ä")),
            (r#"a"b"#, None),
            (r"a\", None),
            (r"\q", None),
            (r"\x4", None),
            (r"\xzz", None),
            (r"\ud800", None),
            (r"\U00110000", None),
        ] {
            assert_eq!(unquote(quoted).as_deref(), value, "{quoted}");
        }
    }

    #[test]
    fn a_line_is_a_field_and_a_line_that_is_none_is_named() {
        let text = "app.kubernetes.io/name=\"web\"\nempty=\"\"\nodd=\"a=b\"\n";
        let fields = parse(text, LABELS).unwrap();
        let fields: Vec<_> = fields.iter().map(|field| format!("{} is {}", field.name(), field.value())).collect();
        assert_eq!(
            fields,
            [
                "kubernetes.labels.app.kubernetes.io/name is web",
                "kubernetes.labels.empty is ",
                "kubernetes.labels.odd is a=b"
            ]
        );
        assert_eq!(parse("", LABELS).unwrap(), []);
        for (text, line) in [("a", 1), ("a=\"b\"\n=\"c\"", 2), ("a=b", 1), ("a=\"", 1), ("a=\"b\" ", 1)] {
            assert_eq!(parse(text, LABELS).unwrap_err().to_string(), Error::Line(line).to_string(), "{text:?}");
        }
    }
}
