//! An object of libnftnl and its attributes.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// One of libnftnl's object types.
///
/// # Safety
/// The functions must be libnftnl's for objects of type `Raw`. `allocate` returns
/// a new object or null, `free` accepts what `allocate` returned, `set` copies
/// `data`, `get` returns null or a pointer into the object.
pub(crate) unsafe trait Kind {
    /// The C type.
    type Raw;
    /// A new object. Null if there is no memory.
    fn allocate() -> *mut Self::Raw;
    /// Frees an object.
    ///
    /// # Safety
    /// `raw` must come from `allocate` and belong to the caller.
    unsafe fn free(raw: *mut Self::Raw);
    /// Sets an attribute. Negative if there is no memory.
    ///
    /// # Safety
    /// `raw` must be alive, and `data` must fit the attribute's C type.
    unsafe fn set(raw: *mut Self::Raw, key: u16, data: *const c_void, length: u32) -> c_int;
    /// Reads an attribute. Null if it is not set.
    ///
    /// # Safety
    /// `raw` must be alive.
    unsafe fn get(raw: *mut Self::Raw, key: u16, length: &mut u32) -> *const c_void;
}

/// A number attribute of `K` whose C type is as wide as `T`.
pub(crate) struct Key<K, T>(u16, PhantomData<fn(K) -> T>);

/// A string attribute of `K`.
pub(crate) struct Text<K>(u16, PhantomData<fn(K)>);

/// A byte string attribute of `K`, with its greatest length.
pub(crate) struct Bytes<K>(u16, usize, PhantomData<fn(K)>);

// Only `kinds` calls the constructors. A wrong type or length there corrupts
// memory, so check that file against libnftnl's source.
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

/// The number types of attributes.
///
/// # Safety
/// Any bytes must be a valid value of the type.
pub(crate) unsafe trait Number: Copy {}
// SAFETY: integers have neither padding nor invalid values.
unsafe impl Number for u8 {}
// SAFETY: as above.
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
    /// An upper bound of the bytes that its attributes take in a message.
    size: usize,
}

/// An object that another object holds.
pub(crate) struct Ref<'a, K: Kind>(NonNull<K::Raw>, PhantomData<&'a K::Raw>);

/// More than the bytes around a value. These are at most three attribute headers
/// of 4 bytes (`nlattr`, nested in expressions and elements) and 3 of padding.
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

    /// Sets a byte string. It is cut if it is too long.
    pub(crate) fn bytes(&mut self, key: &Bytes<K>, value: &[u8]) -> &mut Self {
        let fitting = value.get(..key.1).unwrap_or(value);
        // SAFETY: it is not longer than the attribute allows, see `Bytes`.
        unsafe { self.set(key.0, fitting.as_ptr().cast(), fitting.len()) }
    }

    /// # Safety
    /// `data` must hold `length` bytes and fit the attribute's C type.
    unsafe fn set(&mut self, key: u16, data: *const c_void, length: usize) -> &mut Self {
        // SAFETY: the object is ours and alive. The caller guarantees the rest.
        let result = unsafe { K::set(self.raw.as_ptr(), key, data, length as u32) };
        if result < 0 {
            handle_alloc_error(Layout::new::<usize>()); // known attributes fail for no other reason
        }
        self.size = self.size.saturating_add(length + AROUND_A_VALUE);
        self
    }

    /// An upper bound of the bytes that the object takes in a message.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// For reading.
    pub(crate) const fn get(&self) -> Ref<'_, K> {
        Ref(self.raw, PhantomData)
    }

    /// The pointer for libnftnl's functions.
    pub(super) const fn as_ptr(&self) -> *mut K::Raw {
        self.raw.as_ptr()
    }

    /// Gives up the object, so that another object can hold it. Returns it with
    /// the size that the other object grows by.
    pub(super) fn into_raw(self) -> (*mut K::Raw, usize) {
        let parts = (self.raw.as_ptr(), self.size + AROUND_A_VALUE);
        std::mem::forget(self);
        parts
    }

    /// Adds the size of an object that this one now holds.
    pub(super) fn grow(&mut self, size: usize) {
        self.size = self.size.saturating_add(size);
    }
}

impl<K: Kind> Drop for Object<K> {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `allocate`, and nothing else holds it.
        unsafe { K::free(self.raw.as_ptr()) }
    }
}

impl<'a, K: Kind> Ref<'a, K> {
    /// # Safety
    /// `raw` must be alive and unchanged for `'a`.
    pub(super) const unsafe fn new(raw: NonNull<K::Raw>) -> Self {
        Self(raw, PhantomData)
    }

    /// The pointer for libnftnl's functions.
    pub(super) const fn as_ptr(&self) -> *mut K::Raw {
        self.0.as_ptr()
    }

    /// A number, if set.
    pub(crate) fn number<T: Number>(&self, key: &Key<K, T>) -> Option<T> {
        let (data, length) = self.raw(key.0)?;
        // SAFETY: `data` points to `length` bytes of the object, and any bytes
        // are a valid `T`.
        (length == size_of::<T>()).then(|| unsafe { data.cast::<T>().read_unaligned() })
    }

    /// A string, if set.
    pub(crate) fn text(&self, key: &Text<K>) -> Option<&'a CStr> {
        let (data, _) = self.raw(key.0)?;
        // SAFETY: libnftnl stores strings as `strdup` made them, with NUL, and
        // the object is alive and unchanged for `'a`. The length is not used,
        // because `nftnl_chain_get_data` returns a wrong one for the type.
        Some(unsafe { CStr::from_ptr(data.cast().as_ptr()) })
    }

    /// A byte string, if set.
    pub(crate) fn bytes(&self, key: &Bytes<K>) -> Option<&'a [u8]> {
        let (data, length) = self.raw(key.0)?;
        // SAFETY: `data` points to `length` bytes of the object, which is alive
        // and unchanged for `'a`. The check keeps them inside the array.
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
