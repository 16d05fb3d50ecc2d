// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Exo.Host;
using Exo.Samples.Tenant;

// A library OS in a process of its own, on a disk that it shares:
//   exo host disk.img --socket disk.sock
//   dotnet run --project samples/Tenant -- disk.sock diary write 3 "Rain again."
//   dotnet run --project samples/Tenant -- disk.sock diary read 3
if (args is not [var socket, var name, var verb, .. var rest])
{
    Console.Error.WriteLine("usage: tenant SOCKET NAME write NUMBER TEXT | read NUMBER | list | churn SEED");
    return 2;
}

try
{
    using HostClient host = HostClient.Attach(socket);
    Notes notes = Notes.Open(host, name);
    switch (verb, rest)
    {
        case ("write", [var number, var text]):
            notes.Write(int.Parse(number, CultureInfo.InvariantCulture), Encoding.UTF8.GetBytes(text));
            notes.MakeDurable();
            return 0;
        case ("read", [var number]):
            byte[]? found = notes.Read(int.Parse(number, CultureInfo.InvariantCulture));
            Console.WriteLine(found is null ? "there is none" : Encoding.UTF8.GetString(found));
            return found is null ? 1 : 0;
        case ("list", []):
            for (int i = 0; i < Notes.Count; i++)
            {
                if (notes.Read(i) is { } note)
                {
                    Console.WriteLine($"{i}: {Encoding.UTF8.GetString(note)}");
                }
            }

            return 0;
        case ("churn", [var seed]):
            // Writes for ever, and says what is durable: for whoever wants to end it in the middle.
            Random random = new(int.Parse(seed, CultureInfo.InvariantCulture));
            for (int round = 1; ; round++)
            {
                List<int> written = [];
                for (int i = random.Next(1, 20); i > 0; i--)
                {
                    int number = random.Next(Notes.Count);
                    byte[] text = new byte[random.Next(1, 4000)];
                    text.AsSpan().Fill((byte)('a' + round % 26));
                    notes.Write(number, text);
                    written.Add(number);
                }

                notes.MakeDurable();
                Console.WriteLine($"{round} {string.Join(' ', written)}");
            }

        default:
            Console.Error.WriteLine($"'{verb}' with {rest.Length} arguments is not known");
            return 2;
    }
}
catch (SocketException)
{
    Console.Error.WriteLine($"tenant: no host listens at {socket}");
    return 1;
}
catch (HostException failure)
{
    // It has gone, lets nobody in, or refuses: it says why.
    Console.Error.WriteLine($"tenant: {failure.Message}");
    return 1;
}
