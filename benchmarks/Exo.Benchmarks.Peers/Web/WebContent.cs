// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>One file, "file.bin", for every server of the web rows: in a folder, and in an image of Exo's.</summary>
internal sealed record WebContent(string Folder, string Image, string NginxPrefix)
{
    public static WebContent Make(WorkFolder folder, int lengthBytes)
    {
        string content = Directory.CreateDirectory(folder["content"]).FullName;
        byte[] bytes = new byte[lengthBytes];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(Path.Combine(content, "file.bin"), bytes);
        string image = folder["site.img"];
        Tool.Run("dotnet", Tool.Exo("mkfs", image, "--size", "64M"));
        Tool.Run("dotnet", Tool.Exo("import", image, content));
        return new WebContent(content, image, Directory.CreateDirectory(folder["nginx"]).FullName);
    }

    /// <summary>Writes nginx's configuration, in a prefix of its own so that nothing of the machine's is read.</summary>
    /// <returns>Its path.</returns>
    public string WriteNginx(string address, int port)
    {
        string path = Path.Combine(NginxPrefix, "nginx.conf");
        File.WriteAllText(path, $$"""
            worker_processes 1;
            daemon off;
            pid {{NginxPrefix}}/nginx.pid;
            error_log {{NginxPrefix}}/error.log;
            events { worker_connections 8192; multi_accept on; }
            http {
              access_log off;
              sendfile on;
              tcp_nopush on;
              tcp_nodelay on;
              keepalive_requests 1000000000;
              open_file_cache max=100 inactive=1h;
              open_file_cache_valid 1h;
              server { listen {{address}}:{{port}} backlog=8192; root {{Folder}}; }
            }
            """);
        Tool.Run("chmod", "-R", "a+rX", Path.GetDirectoryName(NginxPrefix)!);
        return path;
    }
}
