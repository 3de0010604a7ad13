//! Turns a panic of the code under test into a value with its place. The place is known only to the
//! panic hook, which is the process's; it hands it over in a thread-local.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

static HOOK: Once = Once::new();

/// Runs `body`; a panic gives its place (file and line) and message.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, (String, String)> {
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                return others(info);
            }
            let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
            PLACE.with_borrow_mut(|slot| *slot = place.unwrap_or_default());
        }));
    });
    let before = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(before);
    result.map_err(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "a panic without words".to_owned());
        (PLACE.with_borrow_mut(std::mem::take), message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_caught_with_its_place_and_words() {
        let (place, message) = caught(|| panic!("{} is wrong", 7)).unwrap_err();
        assert!(place.contains("panics.rs:"), "{place}");
        assert_eq!(message, "7 is wrong");
        assert_eq!(caught(|| 3), Ok(3));
    }
}
