// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// What the verifier knows of the 512 bytes of one function's stack frame: 64 slots of eight bytes. Immutable: two levels of eight entries, so that a store
/// copies sixteen references and not the whole, and untouched parts stay shared between the states that wait at jump targets.
/// Slot 0 is the lowest address, r10-512; offsets count from there.
/// </summary>
internal sealed class AbstractStack
{
    public const int SlotCount = ProgramContract.StackBytes / SlotBytes;
    private const int SlotBytes = 8;
    private const int Fan = 8;

    private readonly AbstractValue[][] groups;

    private AbstractStack(AbstractValue[][] groups) => this.groups = groups;

    public static AbstractStack Empty { get; } = MakeEmpty();

    public AbstractValue this[int slot] => groups[slot / Fan][slot % Fan];

    private AbstractStack With(int slot, AbstractValue value)
    {
        if (ReferenceEquals(this[slot], value))
        {
            return this;
        }

        AbstractValue[][] newGroups = (AbstractValue[][])groups.Clone();
        newGroups[slot / Fan] = (AbstractValue[])groups[slot / Fan].Clone();
        newGroups[slot / Fan][slot % Fan] = value;
        return new AbstractStack(newGroups);
    }

    /// <summary>Stores a value at a known offset. Anything but a whole aligned slot leaves bytes of no known value.</summary>
    public AbstractStack Store(int offset, int widthBytes, AbstractValue value)
    {
        if (widthBytes == SlotBytes && offset % SlotBytes == 0)
        {
            return With(offset / SlotBytes, value);
        }

        AbstractStack stack = this;
        for (int at = offset; at < offset + widthBytes; at++)
        {
            int slot = at / SlotBytes;
            stack = stack.With(slot, AbstractValue.Bytes((byte)(stack[slot].WrittenBytes | (1 << (at % SlotBytes)))));
        }

        return stack;
    }

    /// <summary>
    /// Stores a number somewhere between two offsets (the last byte included): what was known of those bytes is lost, but which of them
    /// hold numbers is not. A pointer that may have been hit is one no more.
    /// </summary>
    public AbstractStack Blur(int first, int last)
    {
        AbstractStack stack = this;
        for (int slot = first / SlotBytes; slot <= last / SlotBytes; slot++)
        {
            stack = stack.With(slot, AbstractValue.Bytes(stack[slot].WrittenBytes));
        }

        return stack;
    }

    /// <summary>The first byte between two offsets (both included) that no number was stored to, or -1.</summary>
    public int FirstUnwritten(int first, int last)
    {
        for (int at = first; at <= last; at++)
        {
            byte written = this[at / SlotBytes].WrittenBytes;
            if (written == 0xff)
            {
                at |= SlotBytes - 1;
            }
            else if ((written & (1 << (at % SlotBytes))) == 0)
            {
                return at;
            }
        }

        return -1;
    }

    /// <summary>What can be relied on when either stack may be there. Adds the slots it compared to <paramref name="steps"/>.</summary>
    public static AbstractStack Join(AbstractStack a, AbstractStack b, ref long steps)
    {
        if (ReferenceEquals(a, b))
        {
            return a;
        }

        AbstractValue[][]? newGroups = null;
        for (int group = 0; group < Fan; group++)
        {
            if (ReferenceEquals(a.groups[group], b.groups[group]))
            {
                continue;
            }

            AbstractValue[]? newGroup = null;
            for (int i = 0; i < Fan; i++)
            {
                steps++;
                AbstractValue joined = AbstractValue.JoinSlot(a.groups[group][i], b.groups[group][i]);
                if (!ReferenceEquals(joined, a.groups[group][i]))
                {
                    newGroup ??= (AbstractValue[])a.groups[group].Clone();
                    newGroup[i] = joined;
                }
            }

            if (newGroup is not null)
            {
                newGroups ??= (AbstractValue[][])a.groups.Clone();
                newGroups[group] = newGroup;
            }
        }

        return newGroups is null ? a : new AbstractStack(newGroups);
    }

    /// <summary>True when everything that <paramref name="other"/> allows, this allows too.</summary>
    public bool Covers(AbstractStack other, ref long steps)
    {
        for (int group = 0; group < Fan; group++)
        {
            if (ReferenceEquals(groups[group], other.groups[group]))
            {
                continue;
            }

            for (int i = 0; i < Fan; i++)
            {
                steps++;
                if (!AbstractValue.AreEqual(AbstractValue.JoinSlot(groups[group][i], other.groups[group][i]), groups[group][i]))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private static AbstractStack MakeEmpty()
    {
        AbstractValue[] group = new AbstractValue[Fan];
        Array.Fill(group, AbstractValue.Bytes(0));
        AbstractValue[][] groups = new AbstractValue[Fan][];
        Array.Fill(groups, group);
        return new AbstractStack(groups);
    }
}
