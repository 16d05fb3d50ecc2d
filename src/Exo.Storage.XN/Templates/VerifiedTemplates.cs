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
        // The hash is computed and not the one that the block states: who wrote the block is not trusted.
        Span<UInt128> hash = stackalloc UInt128[2];
        SHA256.HashData(block[TemplateBlock.FlagsOffset..], System.Runtime.InteropServices.MemoryMarshal.AsBytes(hash));
        (TemplateId, UInt128, UInt128) key = (id, hash[0], hash[1]);
        if (s_templates.TryGetValue(key, out Template? known))
        {
            return known;
        }

        Template template = Template.Verify(id, source, children);
        if (s_templates.Count < TemplatesMax)
        {
            s_templates.TryAdd(key, template);
        }

        return template;
    }
}
