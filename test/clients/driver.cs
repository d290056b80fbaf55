// The app around the client in the tests: app_test.go answers its requests.

using System;
using System.Collections.Concurrent;
using System.Net;
using System.Threading;
using System.Threading.Tasks;
using Newtonsoft.Json.Linq;

// OneThread runs everything on one thread, as Unity's own context does.
class OneThread : SynchronizationContext
{
    readonly BlockingCollection<Action> work = new BlockingCollection<Action>();

    public override void Post(SendOrPostCallback run, object state) => work.Add(() => run(state));

    public void RunUntil(Task end)
    {
        end.ContinueWith(_ => work.CompleteAdding(), TaskScheduler.Default);
        foreach (var run in work.GetConsumingEnumerable()) run();
        end.Wait();
    }
}

class Driver
{
    static string app;

    static async Task<string> Ask(string what, string query = "")
    {
        using (var client = new WebClient()) return await client.DownloadStringTaskAsync(app + "/" + what + "?" + query);
    }

    static async Task<object> Apply(JObject tokens, string action)
    {
        var code = await Ask("sdk", "action=" + action + "&token=" + Uri.EscapeDataString((string)tokens["rtc"]["token"]));
        return code == "" ? null : (object)int.Parse(code);
    }

    static async Task Obey(Refresher refresher)
    {
        for (var command = await Ask("next"); command != ""; command = await Ask("next"))
        {
            if (command == "leave") await refresher.Leave();
            if (command == "expired") refresher.Expired();
            if (command == "wake") refresher.Wake();
        }
    }

    static async Task Run(string service, string uid)
    {
        var identity = JObject.Parse("{\"rtc\": {\"channel\": \"daily\", \"uid\": " + uid + ", \"role\": \"publisher\"}}");
        var refresher = new Refresher(service, identity, () => Ask("credential"), Apply);
        var obeying = Obey(refresher);
        await Ask("over", "reason=" + await refresher.Run());
        await obeying;
    }

    static void Main(string[] arguments)
    {
        ServicePointManager.DefaultConnectionLimit = 10;
        app = arguments[1];
        var thread = new OneThread();
        SynchronizationContext.SetSynchronizationContext(thread);
        thread.RunUntil(Run(arguments[0], arguments[2]));
    }
}
