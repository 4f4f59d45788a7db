//! Lines on their way to a thread that writes them, as many at once as there are.

/// What the thread is told.
#[derive(Debug)]
pub enum Message<T> {
    /// A line to write.
    Line(Vec<u8>),
    /// To tell when everything before is written.
    Flush(T),
}

/// So much is written at once, in bytes.
pub const BATCH: usize = 64 * 1024;

/// Adds `first` and what is there behind it (`next`) to `batch`, until that has [`BATCH`] bytes or somebody wants to be told. Gives the number
/// of lines, and whom to tell.
pub fn gather<T>(
    first: Message<T>,
    mut next: impl FnMut() -> Option<Message<T>>,
    batch: &mut Vec<u8>,
) -> (usize, Option<T>) {
    let mut lines = 0;
    let mut message = Some(first);
    while let Some(current) = message {
        match current {
            Message::Line(line) => {
                batch.extend(line);
                lines += 1;
            }
            Message::Flush(tell) => return (lines, Some(tell)),
        }
        message = if batch.len() < BATCH { next() } else { None };
    }
    (lines, None)
}
