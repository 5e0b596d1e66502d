//! How the C library's allocator shares out memory among threads.

/// Lets two processors share one of the allocator's arenas.
///
/// Buffers of records are filled by one thread and freed by another, whichever evicts them. With the usual
/// eight arenas for each processor that leaves holes in all of them, which took more memory than the records
/// ([ADR 7](../../../docs/adr/0007-less-memory-for-recent-records.md)). To be called before threads are started.
pub(crate) fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Somebody knows better.
        if ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = i32::try_from(processors.div_ceil(2)).unwrap_or(i32::MAX);
        // SAFETY: it sets a number within the allocator, under the allocator's lock.
        #[expect(unsafe_code, reason = "there is no safe interface to it")]
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}
