//! Empty: this package only pins the kernel.
#![no_std]
