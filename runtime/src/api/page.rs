//! Lists in pages: `?limit=` and `?cursor=`, and in the answer the cursor of the next page. Everything that is listed is in
//! memory or a folder's worth: a page is cut, not fetched.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Code, Problem};
use crate::journal::Ring;

/// On one page.
const ITEMS_MAX: usize = 100;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Paging {
    /// Items on a page: 1 to 100, which it is unless said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// In the order of the list.
    items: Vec<T>,
    /// The `cursor` of the next page; null behind the last one.
    next: Option<String>,
}

impl Paging {
    /// For a list that is numbered from 1 and read from a file: behind which number, and how many.
    pub(super) fn by_number(&self) -> Result<(u64, usize), Problem> {
        let bad = |text: &str| Problem::new(Code::BadRequest, format!("cursor={text}: it is no `next` of this list"));
        let after = self.cursor().map_or(Ok(0), |text| text.parse().map_err(|_| bad(text)))?;
        Ok((after, self.limit()?))
    }

    /// A page of a ring: the cursor is the id behind which it begins.
    pub(super) fn of_ring<T, U>(
        &self,
        ring: &Ring<T>,
        is_wanted: impl Fn(&T) -> bool,
        show: impl Fn(u64, &T) -> U,
    ) -> Result<Page<U>, Problem> {
        let (after, limit) = self.by_number()?;
        let read = ring.after(self.cursor().map(|_| after), limit, is_wanted);
        let items = read.items.iter().map(|(id, item)| show(*id, item)).collect();
        Ok(Page { items, next: read.has_more.then(|| read.to.to_string()) })
    }

    /// A first page of this length.
    pub(super) fn of_length(limit: usize) -> Paging {
        Paging { limit: Some(limit), cursor: None }
    }

    /// An empty one is none: what a script makes of a `next` that is null.
    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|cursor| !cursor.is_empty())
    }

    fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(ITEMS_MAX),
            Some(limit @ 1..=ITEMS_MAX) => Ok(limit),
            Some(limit) => {
                Err(Problem::new(Code::BadRequest, format!("limit={limit}: a page has 1 to {ITEMS_MAX} items")))
            }
        }
    }

    /// Cuts a page out of a list. `key` tells an item of the list from all others.
    pub(super) fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Problem> {
        let limit = self.limit()?;
        let mut items = items.into_iter().peekable();
        if let Some(cursor) = self.cursor() {
            while items.next_if(|item| key(item) != cursor).is_some() {}
            if items.peek().is_none() {
                let detail = "there is nothing at this cursor any more: begin again without one";
                return Err(Problem::new(Code::BadRequest, detail));
            }
        }
        let page: Vec<T> = items.by_ref().take(limit).collect();
        Ok(Page { items: page, next: items.peek().map(key) })
    }
}

impl<T> Page<T> {
    /// The same page of something else, which may have to be fetched.
    pub(super) fn try_map<U, E>(self, change: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page { items: self.items.into_iter().map(change).collect::<Result<_, E>>()?, next: self.next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end_and_a_cursor_that_is_gone_says_so() {
        let (mut cursor, mut read) = (None, Vec::new());
        loop {
            let paging = Paging { limit: Some(3), cursor };
            let page = paging.cut(1..=7, i32::to_string).unwrap();
            assert!(page.items.len() <= 3);
            read.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(read, (1..=7).collect::<Vec<_>>());
        let cut = |limit, cursor: &str| Paging { limit, cursor: Some(cursor.to_owned()) }.cut(1..=7, i32::to_string);
        assert!(cut(None, "8").is_err());
        assert!(cut(Some(0), "1").is_err());
        assert!(cut(Some(101), "1").is_err());
    }
}
