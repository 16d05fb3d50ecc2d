// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>Block number to entry index: open addressing with linear probing and removal by backward shift.</summary>
internal sealed class BlockTable
{
    private const int Empty = -1;

    private ulong[] _keys = new ulong[1024];
    private int[] _values = NewValues(1024);
    private int _mask = 1023;

    public int Count { get; private set; }

    public int Find(ulong block)
    {
        int at = Home(block);
        while (_values[at] != Empty)
        {
            if (_keys[at] == block)
            {
                return _values[at];
            }

            at = (at + 1) & _mask;
        }

        return Empty;
    }

    public void Add(ulong block, int value)
    {
        Invariant.Check(value >= 0 && Find(block) == Empty);
        if ((Count + 1) * 3L > _keys.Length * 2L)
        {
            Grow();
        }

        Put(block, value);
        Count++;
    }

    public void Remove(ulong block)
    {
        int hole = Home(block);
        while (_keys[hole] != block || _values[hole] == Empty)
        {
            Invariant.Check(_values[hole] != Empty);
            hole = (hole + 1) & _mask;
        }

        Count--;
        for (int next = (hole + 1) & _mask; _values[next] != Empty; next = (next + 1) & _mask)
        {
            if (((next - Home(_keys[next])) & _mask) >= ((next - hole) & _mask))
            {
                _keys[hole] = _keys[next];
                _values[hole] = _values[next];
                hole = next;
            }
        }

        _values[hole] = Empty;
    }

    private static int[] NewValues(int length)
    {
        int[] values = new int[length];
        Array.Fill(values, Empty);
        return values;
    }

    private int Home(ulong block) => (int)((block * 0x9E3779B97F4A7C15UL) >> 32) & _mask;

    private void Put(ulong block, int value)
    {
        int at = Home(block);
        while (_values[at] != Empty)
        {
            at = (at + 1) & _mask;
        }

        _keys[at] = block;
        _values[at] = value;
    }

    private void Grow()
    {
        (ulong[] keys, int[] values) = (_keys, _values);
        _keys = new ulong[keys.Length * 2];
        _values = NewValues(keys.Length * 2);
        _mask = _keys.Length - 1;
        for (int i = 0; i < values.Length; i++)
        {
            if (values[i] != Empty)
            {
                Put(keys[i], values[i]);
            }
        }
    }
}
