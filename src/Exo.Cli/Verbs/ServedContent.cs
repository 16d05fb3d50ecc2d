// SPDX-License-Identifier: MIT
using Exo.Cli.Arguments;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah;
using Exo.Storage.XN;

namespace Exo.Cli.Verbs;

/// <summary>What <c>exo serve</c> serves: the volume of an image, or a folder of the host. One frame pool holds cache and packets.</summary>
internal sealed class ServedContent : IDisposable
{
    private readonly IDisposable[] _parts;

    private ServedContent(FramePool frames, IDocumentSource source, XnVolume? disk, params IDisposable[] parts)
    {
        Frames = frames;
        Source = source;
        Disk = disk;
        _parts = parts;
    }

    public FramePool Frames { get; }

    public IDocumentSource Source { get; }

    /// <summary>Null for a folder.</summary>
    public XnVolume? Disk { get; }

    public static bool IsFolder(string name) => !ImagePath.IsPartOfAnother(name) && Directory.Exists(name);

    public static ServedContent Open(string name, long cacheBytes, FolderDocumentOptions options)
    {
        if (!IsFolder(name))
        {
            CffsVolume volume = OpenImage.ReadOnly(name, cacheBytes);
            return new ServedContent(volume.Frames, new CffsDocumentSource(volume), volume.Disk, volume);
        }

        FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = cacheBytes });
        try
        {
            FolderDocumentSource folder = new(name, frames, options);
            return new ServedContent(frames, folder, disk: null, folder, frames);
        }
        catch
        {
            frames.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        foreach (IDisposable part in _parts)
        {
            part.Dispose();
        }
    }
}
