//! The memory that all transfers of a process share: a fixed number of bytes, handed out in parts, first come
//! first served. What is given back is used again, so the process does not grow and shrink with every part.
//!
//! Parts lie in pages of their own, and not where the allocator would have them: it keeps what is given back to it, for
//! each of its arenas, and eight large files at once took twice the memory that they had a right to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unit in which memory is counted: permits of a semaphore are a 32-bit number.
const UNIT_BYTES: u64 = 4096;
/// While a transfer stands in line for memory, it gives a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// The shared memory.
#[derive(Debug, Clone)]
pub struct Buffers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Arc<Semaphore>,
    units: u32,
    spare: Mutex<Vec<MmapMut>>,
    /// Only pages of this length are kept for another use.
    usual_bytes: usize,
}

impl Buffers {
    /// `memory_bytes` in all, mostly used in buffers of `part_bytes`.
    #[must_use]
    pub fn new(memory_bytes: u64, part_bytes: u64) -> Self {
        let units = u32::try_from(memory_bytes / UNIT_BYTES).unwrap_or(u32::MAX >> 3).max(1);
        metrics::gauge!("zoom_archiver_part_memory_limit_bytes").set(f64::from(units) * UNIT_BYTES as f64);
        metrics::gauge!("zoom_archiver_part_memory_bytes").set(0.0);
        metrics::gauge!("zoom_archiver_parts_in_memory").set(0.0);
        Self(Arc::new(Inner {
            budget: Arc::new(Semaphore::new(units as usize)),
            units,
            spare: Mutex::new(Vec::new()),
            usual_bytes: usize::try_from(part_bytes).unwrap_or(usize::MAX),
        }))
    }

    /// Takes a buffer of `bytes`, and waits in line until there is room for it; `waiting` is called now and
    /// then meanwhile. One that is larger than all the memory is granted when nothing else is out.
    ///
    /// # Panics
    /// When the system has no such memory.
    pub async fn take(&self, bytes: usize, waiting: impl Fn()) -> Buffer {
        let units = u32::try_from((bytes as u64).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let acquire = Arc::clone(&self.0.budget).acquire_many_owned(units.clamp(1, self.0.units));
        tokio::pin!(acquire);
        let right = loop {
            match tokio::time::timeout(SIGN_OF_LIFE, &mut acquire).await {
                // The semaphore is never closed.
                Ok(permit) => break permit.ok().map(Right::new),
                Err(_) => waiting(),
            }
        };
        let pages = self.spare(bytes);
        self.give_back_what_is_taken();
        let pages =
            pages.unwrap_or_else(|| MmapMut::map_anon(bytes.max(1)).expect("there is memory for a part"));
        Buffer(Part { pages: Some(pages), filled: 0, limit: bytes, right, home: self.clone() })
    }

    fn spare(&self, bytes: usize) -> Option<MmapMut> {
        if bytes != self.0.usual_bytes {
            return None;
        }
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// What is kept for another use may fill the memory that nobody holds a right to, and no more.
    fn give_back_what_is_taken(&self) {
        let free = self.0.budget.available_permits() as u64 * UNIT_BYTES;
        let kept = usize::try_from(free / self.0.usual_bytes.max(1) as u64).unwrap_or(usize::MAX);
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).truncate(kept);
    }

    fn keep(&self, pages: MmapMut) {
        if pages.len() == self.0.usual_bytes {
            self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).push(pages);
        }
    }
}

/// The right to the memory of one part, as the metrics count it.
#[derive(Debug)]
struct Right {
    permit: OwnedSemaphorePermit,
}

impl Right {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let right = Self { permit };
        metrics::gauge!("zoom_archiver_parts_in_memory").increment(1.0);
        metrics::gauge!("zoom_archiver_part_memory_bytes").increment(right.bytes());
        right
    }

    fn bytes(&self) -> f64 {
        self.permit.num_permits() as f64 * UNIT_BYTES as f64
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        metrics::gauge!("zoom_archiver_parts_in_memory").decrement(1.0);
        metrics::gauge!("zoom_archiver_part_memory_bytes").decrement(self.bytes());
    }
}

/// A buffer that is being filled.
#[derive(Debug)]
pub struct Buffer(Part);

impl Buffer {
    /// Takes as much of `chunk` as there is room for, and leaves the rest in it.
    pub fn fill(&mut self, chunk: &mut Bytes) {
        let part = &mut self.0;
        let taken = chunk.split_to(chunk.len().min(part.limit - part.filled));
        let end = part.filled + taken.len();
        if let Some(pages) = &mut part.pages {
            pages[part.filled..end].copy_from_slice(&taken);
        }
        part.filled = end;
    }

    /// How many bytes it can hold.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Makes the content shareable. Its memory counts as taken until the last clone is dropped.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

/// Memory, and the right to it.
#[derive(Debug)]
struct Part {
    /// There until it is dropped.
    pages: Option<MmapMut>,
    filled: usize,
    limit: usize,
    right: Option<Right>,
    home: Buffers,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.pages.as_ref().map_or(&[], |pages| &pages[..self.filled])
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            self.home.keep(pages);
        }
        // The memory first, then the right to it.
        self.right.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn no_more_is_handed_out_than_there_is() {
        let buffers = Buffers::new(2 * MIB as u64, MIB as u64);
        let first = buffers.take(MIB, || {}).await;
        let _second = buffers.take(MIB, || {}).await;
        let mut third = Box::pin(buffers.take(MIB, || {}));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        third.await;
    }

    #[tokio::test]
    async fn a_buffer_takes_its_length_and_leaves_the_rest() {
        let buffers = Buffers::new(MIB as u64, MIB as u64);
        let mut buffer = buffers.take(4, || {}).await;
        let mut chunk = Bytes::from_static(b"abcdef");
        buffer.fill(&mut chunk);
        assert_eq!((buffer.content(), &chunk[..]), (&b"abcd"[..], &b"ef"[..]));
        assert_eq!(buffer.content().len(), buffer.limit());
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let buffers = Buffers::new(MIB as u64, MIB as u64);
        let mut buffer = buffers.take(MIB, || {}).await;
        buffer.fill(&mut Bytes::from_static(b"x"));
        let filled = buffer.freeze();
        let (clone, address) = (filled.clone(), filled.as_ptr());
        drop(filled);
        assert_eq!(buffers.0.budget.available_permits(), 0, "a clone is still out");
        drop(clone);
        let again = buffers.take(MIB, || {}).await;
        assert_eq!(again.content(), b"");
        assert_eq!(again.content().as_ptr(), address);
    }

    #[tokio::test]
    async fn what_is_kept_for_another_use_counts_too() {
        let buffers = Buffers::new(2 * MIB as u64, MIB as u64);
        for held in [buffers.take(MIB, || {}).await, buffers.take(MIB, || {}).await] {
            drop(held.freeze());
        }
        let _odd = buffers.take(MIB + 1, || {}).await;
        assert!(buffers.0.spare.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_that_is_larger_than_all_memory_goes_alone() {
        let buffers = Buffers::new(MIB as u64, MIB as u64);
        let large = buffers.take(2 * MIB, || {}).await;
        let mut other = Box::pin(buffers.take(1, || {}));
        assert!(futures_util::poll!(&mut other).is_pending());
        drop(large);
        other.await;
    }
}
