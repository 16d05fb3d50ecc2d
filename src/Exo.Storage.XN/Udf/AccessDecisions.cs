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

    private readonly Dictionary<(Credential Credential, ulong Guard, XnOperation Operation), AccessGrant> _granted = [];
    private readonly byte[] _context = new byte[AclContext.SizeBytes];

    // The last yes for each operation: who does much does it to blocks of one guard.
    private readonly AccessGrant?[] _last = new AccessGrant?[(int)XnOperation.Write + 1];

    /// <summary>The last yes to an operation; read without the lock.</summary>
    public AccessGrant? Last(XnOperation operation) => Volatile.Read(ref _last[(int)operation]);

    public bool Check(Credential credential, Template guard, ulong guardBlock, int guardIndex, ulong guardVersion, ReadOnlySpan<byte> bytes, XnOperation operation)
    {
        ArgumentNullException.ThrowIfNull(credential);
        ref AccessGrant? last = ref _last[(int)operation];
        if (last is not null && last.Credential == credential && last.Guard == guardBlock && last.Version == guardVersion && last.By.IsValid)
        {
            return true;
        }

        if (_granted.TryGetValue((credential, guardBlock, operation), out AccessGrant? known) && known.Version == guardVersion && known.By.IsValid)
        {
            Volatile.Write(ref last, known);
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

                known = new AccessGrant(credential, guardBlock, guardIndex, guardVersion, capability);
                _granted[(credential, guardBlock, operation)] = known;
                Volatile.Write(ref last, known);
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

/// <summary>A yes: of this version of the guarding block, which has (or had) this entry in the registry, to this credential, because of one of its capabilities.</summary>
internal sealed record AccessGrant(Credential Credential, ulong Guard, int Index, ulong Version, Capability By);
