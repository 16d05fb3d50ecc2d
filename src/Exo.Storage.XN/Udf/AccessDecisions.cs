// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Capabilities;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>
/// Runs <c>acl</c> functions and remembers their answers as long as the guarding block does not change. Guarded by the volume's lock.
/// A remembered yes still needs the capability that earned it to be valid.
/// </summary>
internal sealed class AccessDecisions
{
    private const int RememberedMax = 256;

    private readonly Dictionary<(Credential Credential, ulong Guard, XnOperation Operation), (ulong Version, Capability By)> _granted = [];
    private readonly byte[] _context = new byte[AclContext.SizeBytes];

    // The last yes for each operation: who does much does it to blocks of one guard.
    private readonly (Credential? Credential, ulong Guard, ulong Version, Capability? By)[] _last = new (Credential?, ulong, ulong, Capability?)[(int)XnOperation.Write + 1];

    public bool Check(Credential credential, Template guard, ulong guardBlock, ulong guardVersion, ReadOnlySpan<byte> bytes, XnOperation operation)
    {
        ArgumentNullException.ThrowIfNull(credential);
        ref (Credential? Credential, ulong Guard, ulong Version, Capability? By) last = ref _last[(int)operation];
        if (last.Credential == credential && last.Guard == guardBlock && last.Version == guardVersion && last.By!.IsValid)
        {
            return true;
        }

        if (_granted.TryGetValue((credential, guardBlock, operation), out (ulong Version, Capability By) known)
            && known.Version == guardVersion && known.By.IsValid)
        {
            last = (credential, guardBlock, known.Version, known.By);
            return true;
        }

        Invariant.Check(guard.Acl is not null);
        foreach (Capability capability in credential.Capabilities)
        {
            if (capability.IsValid && Grants(guard.Acl, capability, bytes, operation))
            {
                if (_granted.Count >= RememberedMax)
                {
                    _granted.Clear();
                }

                _granted[(credential, guardBlock, operation)] = (guardVersion, capability);
                return true;
            }
        }

        return false;
    }

    private bool Grants(VerifiedProgram acl, Capability capability, ReadOnlySpan<byte> bytes, XnOperation operation)
    {
        Span<byte> context = _context;
        context.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.Operation..], (uint)operation);
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.RightsWanted..], (uint)(operation == XnOperation.Write ? Rights.Write : Rights.Read));
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.OffsetBytes..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.LengthBytes..], 4096);
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.CapabilityRights..], (uint)capability.Rights);
        BinaryPrimitives.WriteUInt32LittleEndian(context[AclContext.NameLengthBytes..], (uint)capability.Name.LengthBytes);
        capability.Name.CopyTo(context[AclContext.Name..]);
        ExecutionResult result = acl.Run(new ProgramInput(bytes, context), acl.InstructionsMax);
        return result.Status == ExecutionStatus.Completed && result.R0 != 0;
    }
}
