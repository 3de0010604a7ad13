//! Links the lower crates into a library without std: its own panic handler collides with std's as
//! soon as any dependency brings std in. Nothing here ever runs.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use broker_core as _;
use invariants as _;
use workloads as _;

struct NoMemory;

// SAFETY: refuses every request, which the contract of `GlobalAlloc` allows.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
