//! Panics as findings: in a simulated task one would otherwise end nothing but the task.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// What panicked on this thread since it was last asked, while it is being asked about.
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `work` and returns what panicked in it, caught or not.
pub(crate) fn collect<T>(work: impl FnOnce() -> T) -> (Option<T>, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let collected = SEEN.with(|seen| match seen.borrow_mut().as_mut() {
                Some(seen) => {
                    seen.push(info.to_string());
                    true
                }
                None => false,
            });
            if !collected {
                before(info);
            }
        }));
    });
    SEEN.with(|seen| *seen.borrow_mut() = Some(Vec::new()));
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(work)).ok();
    (outcome, SEEN.with(|seen| seen.borrow_mut().take()).unwrap_or_default())
}
