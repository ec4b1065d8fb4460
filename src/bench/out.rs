//! What is printed: to a reader or a terminal that may go away at any time, which must never be a panic.
//!
//! (`println!` and `eprintln!` panic when they can't write.)

use std::io::{self, Write};

/// The reader of standard output, or the terminal behind it, has gone.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub struct ReaderGone;

/// Standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Without a reader the work has no use: writing fails with [`ReaderGone`].
    Only,
    /// The results also go to a file: without a reader they aren't printed.
    Also,
}

impl Out {
    /// Prints a text as it is. An error is [`ReaderGone`] or one of writing.
    pub fn print(self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        self.judge(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    fn judge(self, written: io::Result<()>) -> anyhow::Result<()> {
        match written {
            Err(error) if is_gone(&error) => match self {
                Out::Only => Err(ReaderGone.into()),
                Out::Also => Ok(()),
            },
            written => Ok(written?),
        }
    }
}

/// A remark on standard error, as a line; one that can't be written is left out.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A pipe without a reader, or a terminal that was hung up.
fn is_gone(error: &io::Error) -> bool {
    let hung_up = rustix::io::Errno::IO.raw_os_error();
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(hung_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_ends_the_work_unless_its_results_go_elsewhere_too() {
        let gone = || Err(io::Error::from(io::ErrorKind::BrokenPipe));
        let hung_up = || Err(io::Error::from_raw_os_error(5));
        for written in [gone(), hung_up()] {
            assert!(Out::Only.judge(written).unwrap_err().is::<ReaderGone>());
        }
        for written in [gone(), hung_up(), Ok(())] {
            assert!(Out::Also.judge(written).is_ok());
        }
        let full = Err(io::Error::from(io::ErrorKind::StorageFull));
        let error = Out::Also.judge(full).unwrap_err();
        assert!(!error.is::<ReaderGone>());
    }
}
