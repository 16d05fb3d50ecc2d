// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>nc [-l] [HOST] PORT: standard input to a connection, and the connection to standard output. Ends when both have.</summary>
internal static class Nc
{
    // Where the child finds the number of the socket's descriptor.
    private const int SocketAt = ProcessMemory.HeapAt;

    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "l");
        bool listens = options.ContainsKey('l');
        if (operands.Count != (listens ? 1 : 2) || !int.TryParse(operands[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int port))
        {
            throw new UsageException("usage: nc -l PORT, or nc HOST PORT");
        }

        int socket = listens ? await AcceptOneAsync(self, port) : await self.Sockets.ConnectAsync(operands[0], port);
        self.Memory.WriteText(SocketAt, socket.ToString(CultureInfo.InvariantCulture));
        Process sender = self.Fork(SendAsync);
        await CopyAsync(self, socket, 1);
        return (await self.WaitAsync(sender.Id))!.Value.Status.ShellStatus;
    }

    private static async ValueTask<int> AcceptOneAsync(Process self, int port)
    {
        int listener = await self.Sockets.ListenAsync(port);
        int socket = await self.Sockets.AcceptAsync(listener);
        self.Files.Close(listener);
        return socket;
    }

    private static async ValueTask<int> SendAsync(Process self)
    {
        int socket = int.Parse(self.Memory.ReadText(SocketAt), CultureInfo.InvariantCulture);
        await CopyAsync(self, 0, socket);
        await self.Sockets.ShutDownAsync(socket);
        return 0;
    }

    private static async ValueTask CopyAsync(Process self, int from, int to)
    {
        byte[] buffer = new byte[64 << 10];
        while (await self.Files.ReadAsync(from, buffer) is int count and > 0)
        {
            await self.Files.WriteAsync(to, buffer.AsMemory(0, count));
        }
    }
}
