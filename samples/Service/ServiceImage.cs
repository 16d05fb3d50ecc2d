// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS;

namespace Service;

/// <summary>The image of a new service: a page, and room for 256 MiB.</summary>
internal static class ServiceImage
{
    private const string Page = """
        <!doctype html>
        <title>Service</title>
        <h1>Files in one image</h1>
        <p>This page lies in a C-FFS volume inside the server's process. <code>curl -T FILE http://HOST/files/NAME</code> stores a file beside it,
        <a href="/files">/files</a> lists them, <a href="/health">/health</a> tells how the volume is.
        """;

    /// <summary>Opens the image, and makes it first if there is none. One without a site (made by <c>exo mkfs</c>) gets the page.</summary>
    public static CffsVolume Open(string path)
    {
        CffsVolume volume = File.Exists(path) ? CffsVolume.Open(path) : CffsVolume.Create(path, new CffsCreateOptions { SizeBytes = 256 << 20, Label = "service" });
        if (!volume.Exists("/www"))
        {
            volume.CreateDirectory("/www");
            volume.WriteAllBytes("/www/index.html", Encoding.UTF8.GetBytes(Page));
            volume.Sync();
        }

        return volume;
    }
}
