// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Machine;

/// <summary>What the small-file rows ask of a file system. Paths end with a NUL.</summary>
internal interface IFileTree : IDisposable
{
    void MakeDirectory(byte[] path);

    void Create(byte[] path, byte[] contents);

    /// <summary>Creates a file and makes it durable before it returns.</summary>
    void CreateDurably(byte[] path, byte[] contents);

    /// <summary>Writes behind the end of a file, which is at a given place, and makes it durable before it returns.</summary>
    void AppendDurably(byte[] path, long at, byte[] contents) => throw new NotSupportedException();

    /// <summary>Opens a file and writes over all of it.</summary>
    void Overwrite(byte[] path, byte[] contents);

    int Read(byte[] path, byte[] buffer);

    /// <summary>The length of a file.</summary>
    long Stat(byte[] path);

    /// <summary>Goes over a directory and asks every entry for its attributes.</summary>
    (long Entries, long Bytes) Walk(byte[] path);

    void Delete(byte[] path);

    void RemoveDirectory(byte[] path);

    void Sync();

    /// <summary>Nothing of the files is in any cache afterwards.</summary>
    void Chill();
}
