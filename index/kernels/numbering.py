"""Numbering terms: a hash table from collection term ids to 0, 1, 2 … in the order of first appearance.

Collection ids may be any 32-bit numbers, so a table over all of them could need 16 GiB; this one grows with the number
of terms. Open addressing, linear probing, multiplicative hashing (Knuth, TAOCP 3, 6.4).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def number_terms(first, terms, keys, slots, ids, frequencies, largest, n, numbers):
    """Number the terms from place `first` on; return (the place where it stopped, the number of numbered terms).

    terms        uint32[m]                    keys  uint16|uint32[m], which compare as the impacts do
    slots        int32[power of two], a number or -1
    ids          uint32[half of the slots]    the term of each number, of which the first n are in use
    frequencies  int64[half of the slots]     how often each number occurred: added to
    largest      uint32[half of the slots]    the largest key of each number: raised
    numbers      uint32[m], written

    It stops early when the table is half full: call it again with a larger one (`fill_slots`). Oracle: a dict.
    """
    for i in range(first, len(terms)):
        slot = slot_of(terms[i], slots)
        while slots[slot] >= 0 and ids[slots[slot]] != terms[i]:
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            if n == len(ids):
                return i, n
            slots[slot] = n
            ids[n] = terms[i]
            n += 1
        number = slots[slot]
        frequencies[number] += 1
        largest[number] = max(largest[number], np.uint32(keys[i]))
        numbers[i] = number
    return len(terms), n


@njit(cache=True, nogil=True)
def fill_slots(ids, slots):
    """Put the numbers 0 .. n of ids, uint32[n], each once, into slots, int32[power of two above n], all -1."""
    for number in range(len(ids)):
        slot = slot_of(ids[number], slots)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = number


@njit(cache=True, nogil=True)
def slot_of(term, slots):
    """Return the slot where the search for a term starts."""
    # 2**32 less the golden section of 2**32: below 2**31, so that the product with a 32-bit number fits in an int64.
    return ((np.int64(term) * 1640531527) >> 13) & (len(slots) - 1)
