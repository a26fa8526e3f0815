#!/usr/bin/env python3
"""make.py FOLDER [--large]: writes the files that the tests of package hdf5 read, with h5py (Debian: python3-h5py).

Element number i of every dataset of numbers is i * 7 % 120, whatever its type and storage, unless its name begins with "x_".
--large writes files that are too large to be kept: the tests make them afresh where h5py is installed.
"""
import sys
import h5py
import numpy as np

out = sys.argv[1] + '/'


def values(shape, dtype='f4'):
    return (np.arange(int(np.prod(shape))) * 7 % 120).astype(dtype).reshape(shape)


def types(f):
    for t in 'f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8'.split():
        f.create_dataset('le_' + t, data=values((5, 3), '<' + t))
        f.create_dataset('be_' + t, data=values((5, 3), '>' + t))
    f['scalar'] = np.float32(0)
    f['empty'] = np.zeros((0, 3), 'f4')
    f['x_negative'] = np.array([-1, -128, 127], 'i1')
    f['x_half'] = np.array([0, -0.0, 1, -2, 65504, 2.0**-24, -3 * 2.0**-24, np.inf, -np.inf], 'f2')
    f['x_double'] = np.array([0.1, 1e300, -1e300, 1e-60, 16777217], 'f8')
    f['x_large'] = np.array([2**63 + 2**40, 2**64 - 1], 'u8')
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_layout(h5py.h5d.COMPACT)
    v = values((4, 5))
    d = h5py.h5d.create(f.id, b'compact', h5py.h5t.py_create(v.dtype), h5py.h5s.create_simple(v.shape), dcpl)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, v)
    t = h5py.h5t.py_create(np.dtype('f4'))
    t.commit(f.id, b'committed_type')
    d = h5py.h5d.create(f.id, b'committed', t, h5py.h5s.create_simple((4, 5)))
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, v)
    # What cannot be read as numbers.
    f['x_string'] = 'variable ü'
    f['x_fixed'] = np.bytes_('fixed')
    f['x_bool'] = np.array([True, False])
    f['x_compound'] = np.zeros(2, [('a', 'f4'), ('b', 'i4')])
    f['x_null'] = h5py.Empty('f4')


def chunks(f):
    opts = {'gzip': dict(compression='gzip'), 'shuffle': dict(compression='gzip', shuffle=True),
            'sum': dict(fletcher32=True), 'all': dict(compression='gzip', shuffle=True, fletcher32=True), 'plain': {}}
    for name, o in opts.items():
        f.create_dataset(name + '_1', data=values((11,)), chunks=(4,), **o)
        f.create_dataset(name + '_3', data=values((5, 4, 6), 'i2'), chunks=(2, 3, 4), **o)
        f.create_dataset(name + '_single', data=values((5, 4)), chunks=(5, 4), **o)
        f.create_dataset(name + '_grows', data=values((7, 5)), chunks=(2, 3), maxshape=(None, 5), **o)
        f.create_dataset(name + '_widens', data=values((3, 4, 5)), chunks=(2, 3, 2), maxshape=(3, None, 9), **o)
        f.create_dataset(name + '_both', data=values((7, 5)), chunks=(2, 3), maxshape=(None, None), **o)
        f.create_dataset(name + '_limit', data=values((7, 5)), chunks=(2, 3), maxshape=(20, 30), **o)
        d = f.create_dataset(name + '_resized', shape=(9, 9), dtype='f4', chunks=(2, 3), maxshape=(None, None), **o)
        d[...] = 5
        d.resize((3, 2))
        d.resize((6, 5))
        d[...] = values((6, 5))
        d = f.create_dataset('x_' + name + '_partly', shape=(6, 5), dtype='i4', chunks=(2, 3), fillvalue=-3, **o)
        d[2:4, :3] = 1
    f.create_dataset('many', data=values((200, 2), 'u1'), chunks=(1, 2), maxshape=(None, 2))
    f.create_dataset('x_never', shape=(3, 2), dtype='f8', fillvalue=2.5)
    f.create_dataset('x_lzf', data=np.ones((40, 4), 'f4'), chunks=(10, 4), compression='lzf')
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_chunk((2, 3))
    dcpl.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    v = values((7, 5))
    d = h5py.h5d.create(f.id, b'early', h5py.h5t.py_create(v.dtype), h5py.h5s.create_simple(v.shape), dcpl)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, v)


def groups(f, n=40, order=False):
    g = f.create_group('many', track_order=order)
    for i in range(n):
        g['dataset number %d' % i] = values((2,))
    f['a/b/c/d'] = values((3,))
    f['hard'] = f['a/b']
    f['a/b/up'] = f['a']
    f['soft'] = h5py.SoftLink('/a/b/c')
    f['a/relative'] = h5py.SoftLink('b/c/d')
    f['x_dangling'] = h5py.SoftLink('/nowhere')
    f['x_circle'] = h5py.SoftLink('/x_circle')
    f['x_external'] = h5py.ExternalLink('other.h5', '/')
    for i in range(30):
        f['a'].attrs['attribute %d' % i] = 'x' * i
    f.create_group('none')


def large(f, n):
    gzip = dict(compression='gzip')
    f.create_dataset('fixed', data=values((5000, 2), 'u1'), chunks=(1, 2))
    f.create_dataset('fixed_gzip', data=values((2000, 2), 'u1'), chunks=(1, 2), **gzip)
    f.create_dataset('grows', data=values((n, 2), 'u1'), chunks=(1, 2), maxshape=(None, 2))
    f.create_dataset('grows_gzip', data=values((2000, 2), 'u1'), chunks=(1, 2), maxshape=(None, 2), **gzip)
    f.create_dataset('both', data=values((5000, 2), 'u1'), chunks=(1, 1), maxshape=(None, None))
    for name, limit in (('x_sparse', None), ('x_sparse_fixed', 150000)):
        d = f.create_dataset(name, shape=(150000, 2), dtype='u1', chunks=(1, 2), maxshape=(limit, 2), fillvalue=9)
        d[150000 - 2] = 1
    f.create_dataset('images', data=values((100, 3, 40, 50)), chunks=True, compression='gzip')


for libver in ['earliest', 'latest']:
    if '--large' in sys.argv:
        with h5py.File(out + 'large_%s.h5' % libver, 'w', libver=libver) as f:
            large(f, 150000 if libver == 'latest' else 5000)  # 131,060: the first paged block of an extensible array
        with h5py.File(out + 'groups_%s.h5' % libver, 'w', libver=libver) as f:
            groups(f, 3000)
        continue
    for make in types, chunks, groups:
        with h5py.File(out + '%s_%s.h5' % (make.__name__, libver), 'w', libver=libver) as f:
            make(f)
if '--large' not in sys.argv:
    with h5py.File(out + 'ordered_latest.h5', 'w', libver='latest', track_order=True) as f:
        groups(f, 40, True)
    with h5py.File(out + 'userblock_earliest.h5', 'w', userblock_size=1024) as f:
        f['data'] = values((4, 3))
    with h5py.File(out + 'userblock_latest.h5', 'w', libver='latest', userblock_size=512) as f:
        f['data'] = values((4, 3))
