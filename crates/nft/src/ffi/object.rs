//! An object of libnftnl and its attributes.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// One of libnftnl's object types.
///
/// # Safety
/// The functions must be libnftnl's for objects of type `Raw`: `allocate`
/// gives a new object or null, `free` takes what `allocate` gave, `set` copies
/// `data`, `get` gives null or a pointer into the object.
pub(crate) unsafe trait Kind {
    /// The C type.
    type Raw;
    /// A new object; null if there is no memory.
    fn allocate() -> *mut Self::Raw;
    /// Frees an object.
    ///
    /// # Safety
    /// `raw` came from `allocate` and belongs to the caller.
    unsafe fn free(raw: *mut Self::Raw);
    /// Sets an attribute; negative if there is no memory.
    ///
    /// # Safety
    /// `raw` is alive, and `data` is what the attribute's C type asks for.
    unsafe fn set(raw: *mut Self::Raw, key: u16, data: *const c_void, length: u32) -> c_int;
    /// Reads an attribute; null if it is not set.
    ///
    /// # Safety
    /// `raw` is alive.
    unsafe fn get(raw: *mut Self::Raw, key: u16, length: &mut u32) -> *const c_void;
}

/// A number attribute of `K` whose C type is as wide as `T`.
pub(crate) struct Key<K, T>(u16, PhantomData<fn(K) -> T>);

/// A string attribute of `K`.
pub(crate) struct Text<K>(u16, PhantomData<fn(K)>);

/// A byte string attribute of `K`, of at most so many bytes.
pub(crate) struct Bytes<K>(u16, usize, PhantomData<fn(K)>);

// The constructors are for `kinds` alone: a wrong type or length there breaks
// memory, so that file is the one to hold against libnftnl's source.
impl<K, T: Number> Key<K, T> {
    pub(super) const fn new(attribute: u32) -> Self {
        Self(attribute as u16, PhantomData)
    }
}

impl<K> Text<K> {
    pub(super) const fn new(attribute: u32) -> Self {
        Self(attribute as u16, PhantomData)
    }
}

impl<K> Bytes<K> {
    pub(super) const fn new(attribute: u32, longest: usize) -> Self {
        Self(attribute as u16, longest, PhantomData)
    }
}

/// The numbers that attributes are made of.
///
/// # Safety
/// Any bytes must be a value of the type.
pub(crate) unsafe trait Number: Copy {}
// SAFETY: integers have neither padding nor forbidden values.
unsafe impl Number for u16 {}
// SAFETY: as above.
unsafe impl Number for u32 {}
// SAFETY: as above.
unsafe impl Number for i32 {}
// SAFETY: as above.
unsafe impl Number for u64 {}

/// An object that we own.
pub(crate) struct Object<K: Kind> {
    raw: NonNull<K::Raw>,
    /// At least the bytes that its attributes take in a message.
    size: usize,
}

/// An object that another one holds.
pub(crate) struct Ref<'a, K: Kind>(NonNull<K::Raw>, PhantomData<&'a K::Raw>);

/// More than the bytes around a value: at most three attribute headers of 4
/// bytes (`nlattr`; expressions and elements nest them) and 3 of padding.
const AROUND_A_VALUE: usize = 16;

impl<K: Kind> Object<K> {
    /// A new object without attributes.
    pub(crate) fn new() -> Self {
        let raw = NonNull::new(K::allocate())
            .unwrap_or_else(|| handle_alloc_error(Layout::new::<usize>()));
        Self { raw, size: 0 }
    }

    /// Sets a number.
    pub(crate) fn number<T: Number>(&mut self, key: &Key<K, T>, value: T) -> &mut Self {
        // SAFETY: `value` is as wide as the attribute, see `Key`.
        unsafe { self.set(key.0, (&raw const value).cast(), size_of::<T>()) }
    }

    /// Sets a string.
    pub(crate) fn text(&mut self, key: &Text<K>, value: &CStr) -> &mut Self {
        let bytes = value.to_bytes_with_nul();
        // SAFETY: the string ends in NUL.
        unsafe { self.set(key.0, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Sets a byte string; one that is too long is cut.
    pub(crate) fn bytes(&mut self, key: &Bytes<K>, value: &[u8]) -> &mut Self {
        let fitting = value.get(..key.1).unwrap_or(value);
        // SAFETY: not longer than the attribute takes, see `Bytes`.
        unsafe { self.set(key.0, fitting.as_ptr().cast(), fitting.len()) }
    }

    /// # Safety
    /// `data` holds `length` bytes, which the attribute's C type asks for.
    unsafe fn set(&mut self, key: u16, data: *const c_void, length: usize) -> &mut Self {
        // SAFETY: the object is ours and alive; the rest is the caller's word.
        let result = unsafe { K::set(self.raw.as_ptr(), key, data, length as u32) };
        if result < 0 {
            handle_alloc_error(Layout::new::<usize>()); // the only failure of known attributes
        }
        self.size = self.size.saturating_add(length + AROUND_A_VALUE);
        self
    }

    /// The bytes that the object can take in a message, at most.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// For reading.
    pub(crate) const fn get(&self) -> Ref<'_, K> {
        Ref(self.raw, PhantomData)
    }

    /// The object for libnftnl's functions.
    pub(super) const fn as_ptr(&self) -> *mut K::Raw {
        self.raw.as_ptr()
    }

    /// Gives the object away, to be held by one whose size grows so much.
    pub(super) fn into_raw(self) -> (*mut K::Raw, usize) {
        let parts = (self.raw.as_ptr(), self.size + AROUND_A_VALUE);
        std::mem::forget(self);
        parts
    }

    /// Counts the size of an object that this one holds from now on.
    pub(super) fn grow(&mut self, size: usize) {
        self.size = self.size.saturating_add(size);
    }
}

impl<K: Kind> Drop for Object<K> {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `allocate`, and nobody else holds it.
        unsafe { K::free(self.raw.as_ptr()) }
    }
}

impl<'a, K: Kind> Ref<'a, K> {
    /// # Safety
    /// `raw` is alive and unchanged for `'a`.
    pub(super) const unsafe fn new(raw: NonNull<K::Raw>) -> Self {
        Self(raw, PhantomData)
    }

    /// The object for libnftnl's functions.
    pub(super) const fn as_ptr(&self) -> *mut K::Raw {
        self.0.as_ptr()
    }

    /// A number, if set.
    pub(crate) fn number<T: Number>(&self, key: &Key<K, T>) -> Option<T> {
        let (data, length) = self.raw(key.0)?;
        // SAFETY: `data` points to so many bytes of the object, and any bytes
        // are a `T`.
        (length == size_of::<T>()).then(|| unsafe { data.cast::<T>().read_unaligned() })
    }

    /// A string, if set.
    pub(crate) fn text(&self, key: &Text<K>) -> Option<&'a CStr> {
        let (data, _) = self.raw(key.0)?;
        // SAFETY: libnftnl keeps strings as `strdup` made them, with NUL, and
        // the object lives and does not change for `'a`. The length is not
        // used: `nftnl_chain_get_data` gives a wrong one for the type.
        Some(unsafe { CStr::from_ptr(data.cast().as_ptr()) })
    }

    /// A byte string, if set.
    pub(crate) fn bytes(&self, key: &Bytes<K>) -> Option<&'a [u8]> {
        let (data, length) = self.raw(key.0)?;
        // SAFETY: so many bytes of the object, which lives and does not change
        // for `'a`; for arrays, never more than the array has.
        (length <= key.1)
            .then(|| unsafe { std::slice::from_raw_parts(data.cast().as_ptr(), length) })
    }

    fn raw(&self, key: u16) -> Option<(NonNull<c_void>, usize)> {
        let mut length = 0;
        // SAFETY: the object is alive for `'a`.
        let data = unsafe { K::get(self.0.as_ptr(), key, &mut length) };
        Some((NonNull::new(data.cast_mut())?, length as usize))
    }
}
