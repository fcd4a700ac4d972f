//! How memory is kept, so that the process is about as large as what it holds.

#![allow(unsafe_code, reason = "an allocator, and one call into the C library")]

use std::alloc::{GlobalAlloc, Layout, System};

/// Pieces of at least this many bytes have pages of their own.
#[cfg(target_os = "linux")]
const LARGE: usize = 64 << 10;

/// The system's allocator, but that large pieces have pages of their own.
///
/// A column that grows in a heap leaves holes behind, as large together as itself; several grow at once, so that the holes
/// seldom serve another, and what is free in the middle of a heap stays occupied. A column of its own pages is moved by
/// the system without a copy, occupies what was written of it, and is given back whole. Columns are filled many times, so
/// that fresh pages, which cost time, are seldom needed; what comes and goes by the thousand is smaller.
#[derive(Debug)]
pub struct Allocator;

// SAFETY: what is small is the system's allocator's, what is large the system's own; which of both follows from a piece's
// size alone, which its owner has to say whenever it is handed back. Pages are aligned to 4 KiB at least.
#[cfg(target_os = "linux")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return pages(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            // Fresh pages are zero.
            return pages(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: it was mapped with this size.
            unsafe { libc::munmap(piece.cast(), layout.size()) };
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(piece, layout) }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: large pieces were mapped with this size; a piece that becomes large or small is copied, as far as both
        // sizes go, and its old place is freed as it was made.
        unsafe {
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            match (is_large(layout), is_large(wanted)) {
                (false, false) => System.realloc(piece, layout, size),
                (true, true) => or_null(libc::mremap(piece.cast(), layout.size(), size, libc::MREMAP_MAYMOVE)),
                _ => {
                    let new = self.alloc(wanted);
                    if !new.is_null() {
                        piece.copy_to_nonoverlapping(new, layout.size().min(size));
                        self.dealloc(piece, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= 4096
}

#[cfg(target_os = "linux")]
fn pages(size: usize) -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping touches no other.
    or_null(unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) })
}

#[cfg(target_os = "linux")]
fn or_null(mapped: *mut libc::c_void) -> *mut u8 {
    if mapped == libc::MAP_FAILED { std::ptr::null_mut() } else { mapped.cast() }
}

// SAFETY: it is the system's allocator.
#[cfg(not(target_os = "linux"))]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(piece, layout) }
    }
}

/// For glibc, whose heaps librdkafka shares; other allocators are left as they are.
///
/// glibc gives each thread a heap of its own, up to eight per core, and what is freed in one serves no other. Two heaps
/// hold a fifth less than a dozen, and the threads allocate too seldom to wait for each other: no CPU time was seen to be
/// lost.
pub(crate) fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const HEAPS: libc::c_int = 2;
        // SAFETY: mallopt takes two numbers and keeps no pointer. It refuses what it does not know, which changes nothing.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_what_they_hold_while_they_grow_and_shrink() {
        let sizes = [1, 1_000, (64 << 10) - 1, 64 << 10, 300_000, 5 << 20, 200_000, 65_535, 7, 1 << 20, 100];
        for align in [1, 8, 4096, 8192] {
            let layout = |size| Layout::from_size_align(size, align).unwrap();
            let (mut size, mut written) = (16, 16);
            // SAFETY: each piece is used within its size and freed once, with its layout.
            unsafe {
                let mut piece = Allocator.alloc_zeroed(layout(size));
                assert!((0..size).all(|at| *piece.add(at) == 0));
                (0..size).for_each(|at| piece.add(at).write(at.to_le_bytes()[0] ^ 0x5a));
                for next in sizes {
                    piece = Allocator.realloc(piece, layout(size), next);
                    assert!(!piece.is_null() && piece.addr().is_multiple_of(align));
                    written = written.min(next);
                    assert!((0..written).all(|at| *piece.add(at) == at.to_le_bytes()[0] ^ 0x5a), "{size} to {next}");
                    (written..next).for_each(|at| piece.add(at).write(at.to_le_bytes()[0] ^ 0x5a));
                    (size, written) = (next, next);
                }
                Allocator.dealloc(piece, layout(size));
            }
        }
    }
}
