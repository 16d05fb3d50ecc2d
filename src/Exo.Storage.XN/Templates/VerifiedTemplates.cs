// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Exo.Storage.XN;

/// <summary>
/// Templates that this process has verified, by everything that they are made of: whoever attaches a second disk with the same ones, or the same disk again, neither verifies nor compiles them anew
/// (that takes ten times as long as the rest of attaching a small disk). Templates are immutable, so any number of volumes may share one.
/// </summary>
internal static class VerifiedTemplates
{
    // A disk has at most a few dozen; strangers' disks cannot make this grow without end.
    private const int TemplatesMax = 256;

    private static readonly ConcurrentDictionary<(TemplateId Id, UInt128 Low, UInt128 High), Template> s_templates = new();

    /// <summary>The verified template of a catalogue block that was parsed.</summary>
    /// <exception cref="XnException">It does not verify.</exception>
    public static Template Get(ReadOnlySpan<byte> block, TemplateId id, TemplateSource source, TemplateId[] children)
    {
        (TemplateId, UInt128, UInt128) key = KeyOf(block, id);
        if (s_templates.TryGetValue(key, out Template? known))
        {
            return known;
        }

        return Keep(key, Template.Verify(id, source, children));
    }

    /// <summary>The template of a catalogue block that is new on its disk and was verified just now: the one of its kind that there is, which may be compiled.</summary>
    public static Template Share(ReadOnlySpan<byte> block, Template verified)
    {
        (TemplateId, UInt128, UInt128) key = KeyOf(block, verified.Id);
        return s_templates.TryGetValue(key, out Template? known) ? known : Keep(key, verified);
    }

    private static Template Keep((TemplateId Id, UInt128 Low, UInt128 High) key, Template template)
    {
        if (s_templates.Count < TemplatesMax)
        {
            s_templates.TryAdd(key, template);
        }

        return template;
    }

    private static (TemplateId Id, UInt128 Low, UInt128 High) KeyOf(ReadOnlySpan<byte> block, TemplateId id)
    {
        // The hash is computed and not the one that the block states: who wrote the block is not trusted.
        Span<UInt128> hash = stackalloc UInt128[2];
        SHA256.HashData(block[TemplateBlock.FlagsOffset..], System.Runtime.InteropServices.MemoryMarshal.AsBytes(hash));
        return (id, hash[0], hash[1]);
    }
}
