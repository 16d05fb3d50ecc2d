// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Adapters.Fuse;
using Exo.FileSystems.CFFS;

namespace Exo.Benchmarks.Peers.Machine;

/// <summary>C-FFS mounted by this process, through bare system calls: the same calls as on the peer.</summary>
internal sealed class MountedTree : IFileTree
{
    private readonly string _image;
    private readonly FuseMountOptions _options;
    private readonly KernelTree _kernel;
    private readonly CffsOpenOptions _open = new() { CacheBytes = 256L << 20 };
    private CffsVolume _volume;
    private FuseMount _mount;

    public MountedTree(string image, string directory, FuseMountOptions options, long sizeBytes = 1L << 30)
    {
        _image = image;
        _options = options;
        Root = Directory.CreateDirectory(directory).FullName;
        _kernel = new KernelTree(Root);
        _volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = sizeBytes, Overwrite = true, Open = _open });
        _mount = FuseMount.Start(_volume, Root, options);
    }

    /// <summary>Where it is mounted.</summary>
    public string Root { get; }

    public void MakeDirectory(byte[] path) => _kernel.MakeDirectory(path);

    public void Create(byte[] path, byte[] contents) => _kernel.Create(path, contents);

    public void CreateDurably(byte[] path, byte[] contents) => _kernel.CreateDurably(path, contents);

    public void Overwrite(byte[] path, byte[] contents) => _kernel.Overwrite(path, contents);

    public int Read(byte[] path, byte[] buffer) => _kernel.Read(path, buffer);

    public long Stat(byte[] path) => _kernel.Stat(path);

    public (long Entries, long Bytes) Walk(byte[] path) => _kernel.Walk(path);

    public void Delete(byte[] path) => _kernel.Delete(path);

    public void RemoveDirectory(byte[] path) => _kernel.RemoveDirectory(path);

    public void Sync() => _kernel.Sync();

    public void Chill()
    {
        _mount.Dispose();
        _volume.Dispose();
        Tool.DropCaches();
        _volume = CffsVolume.Open(_image, _open);
        _mount = FuseMount.Start(_volume, Root, _options);
    }

    /// <summary>The kernel's messages since a snapshot, per operation, most frequent first.</summary>
    public string MessagesSince(IReadOnlyList<FuseMessageCount> before, int operations) => string.Join(
        ", ",
        CountMessages().Select(now => (now.Message, Count: now.Count - before.FirstOrDefault(b => b.Message == now.Message).Count))
            .Where(message => message.Count * 200 >= operations).OrderByDescending(message => message.Count)
            .Select(message => string.Create(CultureInfo.InvariantCulture, $"{(double)message.Count / operations:0.00} {message.Message}")));

    public IReadOnlyList<FuseMessageCount> CountMessages() => _mount.CountMessages();

    public void Dispose()
    {
        _mount.Dispose();
        _volume.Dispose();
        File.Delete(_image);
    }
}
