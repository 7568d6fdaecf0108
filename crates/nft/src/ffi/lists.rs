//! Objects that hold objects: rules hold expressions, sets hold elements.

use std::ffi::CStr;
use std::ptr::NonNull;

use nftnl_sys as sys;

use super::kinds::{AnyExpression, Dynset, Element, Expression, Limit, Rule, Set};
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
    /// Sets the expression that each element gets.
    pub(crate) fn push(&mut self, limit: Object<Limit>) {
        let (raw, size) = limit.into_raw();
        // SAFETY: both are alive. From now on the dynset frees the limit.
        unsafe { sys::nftnl_expr_add_expr(self.as_ptr(), sys::NFTNL_EXPR_DYNSET_EXPR, raw) };
        self.grow(size);
    }
}

impl Ref<'_, Dynset> {
    /// The expression that each element gets, if it is exactly one.
    pub(crate) fn expression(&self) -> Option<Ref<'_, AnyExpression>> {
        let mut length = 0;
        // SAFETY: the dynset is alive. The attribute is set only if parsing found
        // exactly one expression (`nftnl_expr_dynset_parse`). That expression
        // lives as long as the dynset.
        unsafe {
            let key = sys::NFTNL_EXPR_DYNSET_EXPR as u16;
            let raw = sys::nftnl_expr_get(self.as_ptr(), key, &mut length);
            Some(Ref::new(NonNull::new(raw.cast_mut())?.cast()))
        }
    }
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
