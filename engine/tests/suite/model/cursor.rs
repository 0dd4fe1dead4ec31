//! What a cursor must do, told over a sorted map.
#![forbid(unsafe_code)]

use super::ops::{Key, Move};
use bifold::{CursorMut, PageSource};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

type Map = BTreeMap<Key, Vec<u8>>;

/// Where the model's cursor stands.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stand {
    Fresh,
    Start,
    Before(Key),
    On(Key),
    After(Key),
    End,
}

/// The model of one cursor.
#[derive(Clone, Debug)]
pub struct Model {
    stand: Stand,
}

impl Model {
    pub fn new() -> Self {
        Self { stand: Stand::Fresh }
    }

    /// Every step first looks whether the entry is still there.
    fn refresh(&mut self, map: &Map) {
        if let Stand::On(key) = &self.stand
            && !map.contains_key(key)
        {
            self.stand = Stand::Before(key.clone());
        }
    }

    fn current<'m>(&self, map: &'m Map) -> Option<(&'m Key, &'m Vec<u8>)> {
        match &self.stand {
            Stand::On(key) => map.get_key_value(key),
            _ => None,
        }
    }

    fn next<'m>(&mut self, map: &'m Map) -> Option<(&'m Key, &'m Vec<u8>)> {
        self.refresh(map);
        if self.stand == Stand::Fresh {
            self.stand = Stand::Start;
        }
        let from = match &self.stand {
            Stand::Fresh | Stand::Start => Unbounded,
            Stand::Before(key) => Included(key.clone()),
            Stand::On(key) | Stand::After(key) => Excluded(key.clone()),
            Stand::End => return None,
        };
        let found = map.range((from, Unbounded)).next();
        match (found, &self.stand) {
            (Some((key, _)), _) => self.stand = Stand::On(key.clone()),
            (None, Stand::On(key)) => self.stand = Stand::After(key.clone()),
            _ => {}
        }
        found
    }

    fn prev<'m>(&mut self, map: &'m Map) -> Option<(&'m Key, &'m Vec<u8>)> {
        self.refresh(map);
        if self.stand == Stand::Fresh {
            self.stand = Stand::End;
        }
        let to = match &self.stand {
            Stand::Fresh | Stand::End => Unbounded,
            Stand::Before(key) | Stand::On(key) => Excluded(key.clone()),
            Stand::After(key) => Included(key.clone()),
            Stand::Start => return None,
        };
        let found = map.range((Unbounded, to)).next_back();
        match (found, &self.stand) {
            (Some((key, _)), _) => self.stand = Stand::On(key.clone()),
            (None, Stand::On(key)) => self.stand = Stand::Before(key.clone()),
            _ => {}
        }
        found
    }

    /// Makes one move with both, and compares what they show.
    pub fn step<S: PageSource>(&mut self, map: &mut Map, cursor: &mut CursorMut<'_, S>, step: &Move) {
        match step {
            Move::Next => same(cursor.next(), self.next(map), step),
            Move::Prev => same(cursor.prev(), self.prev(map), step),
            Move::First => {
                self.stand = Stand::Start;
                same(cursor.first(), self.next(map), step);
            }
            Move::Last => {
                self.stand = Stand::End;
                same(cursor.last(), self.prev(map), step);
            }
            Move::Seek(key) => {
                self.stand = Stand::Before(key.clone());
                same(cursor.seek(key), self.next(map), step);
            }
            Move::SeekExact(key) => {
                self.stand =
                    if map.contains_key(key) { Stand::On(key.clone()) } else { Stand::Before(key.clone()) };
                assert!(cursor.seek_exact(key).unwrap() == map.get(key).map(|v| &v[..]), "{step:?}");
            }
            Move::Current => {
                self.refresh(map);
                same(cursor.current(), self.current(map), step);
                let value = cursor.value().unwrap();
                assert!(value.as_deref() == self.current(map).map(|(_, v)| &v[..]));
            }
            Move::Insert(key, value) => {
                let value = value.bytes();
                cursor.insert(key, &value).unwrap();
                map.insert(key.clone(), value);
                self.stand = Stand::On(key.clone());
            }
            Move::Replace(value) => {
                self.refresh(map);
                let key = self.current(map).map(|(key, _)| key.clone());
                let value = value.bytes();
                assert_eq!(cursor.replace(&value).unwrap(), key.is_some(), "{step:?}");
                map.extend(key.map(|key| (key, value)));
            }
            Move::Remove => {
                self.refresh(map);
                let key = self.current(map).map(|(key, _)| key.clone());
                assert_eq!(cursor.remove().unwrap(), key.is_some(), "{step:?}");
                if let Some(key) = key {
                    map.remove(&key);
                }
            }
        }
        let on = match &self.stand {
            Stand::On(key) => Some(&key[..]),
            _ => None,
        };
        assert_eq!(cursor.key(), on, "{step:?}");
    }
}

fn same(got: bifold::Result<Option<(&[u8], &[u8])>>, wanted: Option<(&Key, &Vec<u8>)>, step: &Move) {
    let got = got.unwrap();
    let wanted = wanted.map(|(key, value)| (&key[..], &value[..]));
    assert_eq!(got.map(|(key, _)| key), wanted.map(|(key, _)| key), "{step:?}");
    assert!(got == wanted, "{step:?}: the value differs");
}
