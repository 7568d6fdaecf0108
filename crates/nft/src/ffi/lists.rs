//! Objects that hold objects: rules hold expressions, sets hold elements.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use nftnl_sys as sys;

use super::kinds::{AnyExpression, Dynset, Element, Expression, Rule, Set};
use super::object::{Object, Ref};

impl<'a> Ref<'a, AnyExpression> {
    /// The kernel's name of the expression.
    pub(crate) fn name(&self) -> Option<&'a CStr> {
        self.text(&AnyExpression::NAME)
    }

    /// The same expression with the type of its name, if the name fits.
    pub(crate) fn as_kind<E: Expression>(&self) -> Option<Ref<'a, E>> {
        let raw = NonNull::new(self.as_ptr())?;
        // SAFETY: it is the same object, and its name is the type's.
        (self.name()? == E::NAME).then(|| unsafe { Ref::new(raw) })
    }
}

impl Object<Rule> {
    /// Appends an expression.
    pub(crate) fn push<E: Expression>(&mut self, expression: Object<E>) {
        let (raw, size) = expression.into_raw();
        // SAFETY: both are alive. From now on the rule frees the expression.
        unsafe { sys::nftnl_rule_add_expr(self.as_ptr(), raw) };
        self.grow(size);
    }
}

impl Ref<'_, Rule> {
    /// The expressions in order.
    pub(crate) fn expressions(&self) -> Vec<Ref<'_, AnyExpression>> {
        let mut found = Vec::new();
        // SAFETY: the rule outlives the iterator. `next` returns each expression
        // once and then null. After that it is not called again, because it
        // would start over. The expressions live as long as the rule.
        unsafe {
            let iterator = sys::nftnl_expr_iter_create(self.as_ptr());
            if iterator.is_null() {
                return found;
            }
            while let Some(raw) = NonNull::new(sys::nftnl_expr_iter_next(iterator)) {
                found.push(Ref::new(raw));
            }
            sys::nftnl_expr_iter_destroy(iterator);
        }
        found
    }
}

impl Object<Dynset> {
    /// Adds an expression that each element gets.
    pub(crate) fn push<E: Expression>(&mut self, expression: Object<E>) {
        let (raw, size) = expression.into_raw();
        // SAFETY: both are alive. From now on the dynset frees the expression.
        unsafe { sys::nftnl_expr_add_expr(self.as_ptr(), sys::NFTNL_EXPR_DYNSET_EXPR, raw) };
        self.grow(size);
    }
}

impl Ref<'_, Dynset> {
    /// The expressions that each element gets, in order.
    pub(crate) fn expressions(&self) -> Vec<Ref<'_, AnyExpression>> {
        let mut found: Vec<NonNull<sys::nftnl_expr>> = Vec::new();
        // SAFETY: the dynset is alive. `found` outlives the call, and the callback is the
        // only one that uses it meanwhile (`nftnl_expr_expr_foreach`, libnftnl 1.2.4).
        unsafe {
            let data = std::ptr::from_mut(&mut found).cast();
            sys::nftnl_expr_expr_foreach(self.as_ptr(), Some(collect), data);
        }
        // SAFETY: they live as long as the dynset.
        found.into_iter().map(|raw| unsafe { Ref::new(raw) }).collect()
    }
}

/// Adds an expression to a `Vec` of them.
unsafe extern "C" fn collect(expression: *mut sys::nftnl_expr, data: *mut c_void) -> c_int {
    if let Some(expression) = NonNull::new(expression) {
        // SAFETY: `data` is the `Vec` of the one caller, which waits for this function.
        unsafe { (*data.cast::<Vec<NonNull<sys::nftnl_expr>>>()).push(expression) };
    }
    0
}

impl Object<Set> {
    /// Adds an element to this object, not to the kernel's set.
    pub(crate) fn push(&mut self, element: Object<Element>) {
        let (raw, size) = element.into_raw();
        // SAFETY: both are alive. From now on the set frees the element.
        unsafe { sys::nftnl_set_elem_add(self.as_ptr(), raw) };
        self.grow(size);
    }
}

impl Ref<'_, Set> {
    /// Whether the set's elements carry expressions, such as counters.
    pub(crate) fn has_expressions(&self) -> bool {
        [sys::NFTNL_SET_EXPR, sys::NFTNL_SET_EXPRESSIONS].into_iter().any(|key| {
            // SAFETY: the set is alive.
            unsafe { sys::nftnl_set_is_set(self.as_ptr(), key as u16) }
        })
    }

    /// The elements that the object holds.
    pub(crate) fn elements(&self) -> Vec<Ref<'_, Element>> {
        let mut found = Vec::new();
        // SAFETY: the set outlives the iterator. `next` returns each element once
        // and then null. After that it is not called again, because it would
        // start over (`cur` never becomes null). The elements live as long as
        // the set.
        unsafe {
            let iterator = sys::nftnl_set_elems_iter_create(self.as_ptr());
            if iterator.is_null() {
                return found;
            }
            while let Some(raw) = NonNull::new(sys::nftnl_set_elems_iter_next(iterator)) {
                found.push(Ref::new(raw));
            }
            sys::nftnl_set_elems_iter_destroy(iterator);
        }
        found
    }
}

impl Ref<'_, Element> {
    /// Whether the element carries expressions, such as a counter.
    pub(crate) fn has_expressions(&self) -> bool {
        [sys::NFTNL_SET_ELEM_EXPR, sys::NFTNL_SET_ELEM_EXPRESSIONS].into_iter().any(|key| {
            // SAFETY: the element is alive.
            unsafe { sys::nftnl_set_elem_is_set(self.as_ptr(), key as u16) }
        })
    }
}
