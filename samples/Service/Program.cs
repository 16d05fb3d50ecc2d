// SPDX-License-Identifier: MIT
// An ASP.NET Core service whose files live in one C-FFS image, in its own process:
//
//     dotnet run -c Release --project samples/Service -- --image service.img --urls http://127.0.0.1:5080
//     curl -T picture.jpg http://127.0.0.1:5080/files/picture.jpg       stored: whole, durable, or not at all
//     curl -O http://127.0.0.1:5080/files/picture.jpg
//     curl http://127.0.0.1:5080/health
//
// /www in the image is the site, /files what was uploaded. An answer of 201 or 204 means: the file is on the disk, and a power cut
// at any moment leaves the old contents or the new ones.
using Exo.Adapters.FileProvider;
using Exo.FileSystems.CFFS;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.Net.Http.Headers;
using Service;

WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(args);
using CffsVolume volume = ServiceImage.Open(builder.Configuration["image"] ?? "service.img");
builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = null);   // the volume is the limit
builder.Services.AddSingleton(volume);
builder.Services.AddHealthChecks().AddCheck<VolumeHealthCheck>("volume");
WebApplication app = builder.Build();

UploadStore uploads = new(volume, "/files", "/.unfinished");
using CffsFileProvider site = new(volume, new CffsFileProviderOptions { Root = "/www" });
using CffsFileProvider files = new(volume, new CffsFileProviderOptions { Root = "/files" });

app.UseFileServer(new FileServerOptions { FileProvider = site });
app.MapHealthChecks("/health", new HealthCheckOptions { ResponseWriter = VolumeHealthCheck.WriteAsync });

app.MapGet("/files", () => files.GetDirectoryContents("").Select(file => new FileRow(file.Name, file.Length, file.LastModified)));

app.MapGet("/files/{name}", (string name) => files.GetFileInfo(name) is CffsFileInfo file
    ? Results.Stream(
        file.CreateReadStream(), "application/octet-stream", file.Name, file.LastModified, EntityTagHeaderValue.Parse(file.EntityTag), enableRangeProcessing: true)
    : Results.NotFound());

app.MapPut("/files/{name}", async (string name, HttpRequest request, CancellationToken gone) =>
{
    if (!UploadStore.IsName(name))
    {
        return Results.BadRequest("a name is up to 255 bytes without '/' and does not begin with '.'");
    }

    try
    {
        bool isNew = await uploads.StoreAsync(name, request.Body, gone);
        return isNew ? Results.Created($"/files/{Uri.EscapeDataString(name)}", null) : Results.NoContent();
    }
    catch (CffsException full) when (full.Error == CffsError.NoSpace)
    {
        return Results.StatusCode(StatusCodes.Status507InsufficientStorage);
    }
});

app.MapDelete("/files/{name}", async (string name, CancellationToken gone) =>
    UploadStore.IsName(name) && await uploads.RemoveAsync(name, gone) ? Results.NoContent() : Results.NotFound());

app.Run();
