//! The line formats of container runtimes: CRI, as containerd, CRI-O and podman write it, and Docker's json-file. From a line of such a file
//! to a piece of what the container wrote. Joining the pieces is not done here.

pub mod cri;
pub mod docker;
pub mod kubelet;

/// Which of a container's streams something was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
    /// It is not known.
    Unknown,
}

impl Stream {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Its place in a list of all of them.
    pub fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Unknown => 2,
        }
    }

    /// Its name; empty if it is not known.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Unknown => "",
        }
    }
}

/// A line of a runtime's file, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it was written to.
    pub stream: Stream,
    /// When, in the runtime's own words; empty if it does not say.
    pub time: &'a str,
    /// What was written, without the newline.
    pub text: &'a [u8],
    /// Where the text begins in the line; none if it had to be unescaped.
    pub at: Option<usize>,
    /// The container's line goes on in the next piece of its stream.
    pub partial: bool,
}
