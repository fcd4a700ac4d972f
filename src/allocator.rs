//! How the C library's allocator, which columns and librdkafka share, treats large pieces of memory.

#![allow(unsafe_code, reason = "one call into the C library, before there are other threads")]

/// Keeps the process about as large as what it holds, for glibc; other allocators are left as they are.
///
/// glibc raises the size from which a piece gets a mapping of its own each time such a piece is freed, up to 32 MiB. Columns
/// then come from heaps in which they leave holes as they grow, and an outage, which fills many small batches, makes
/// the process grow beyond `memory` for good. With a fixed size those of larger batches are given back when they are freed;
/// columns that are smaller still come from heaps. It costs page faults: 0.05 to 0.1 CPU seconds per million records of
/// 250 bytes.
pub(crate) fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const OWN_MAPPING: libc::c_int = 128 << 10;
        // SAFETY: mallopt takes two numbers and keeps no pointer. It refuses what it does not know, which changes nothing.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING) };
    }
}
