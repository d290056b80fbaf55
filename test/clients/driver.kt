// The app around the client in the tests: app_test.go answers its requests.

import java.net.URL
import java.net.URLEncoder
import kotlin.concurrent.thread
import kotlin.system.exitProcess
import org.json.JSONObject

fun main(args: Array<String>) {
    val (service, app, uid) = args

    fun ask(what: String, vararg query: Pair<String, String>) =
        URL("$app/$what?" + query.joinToString("&") { it.first + "=" + URLEncoder.encode(it.second, "UTF-8") }).readText()

    val refresher = Refresher(
        service,
        JSONObject("""{"rtc": {"channel": "daily", "uid": $uid, "role": "publisher"}}"""),
        { System.nanoTime() / 1_000_000 },
        { ask("credential") },
        { tokens, action, done ->
            thread { done(ask("sdk", "action" to action, "token" to tokens.getJSONObject("rtc").getString("token")).toIntOrNull()) }
        },
        { reason ->
            ask("over", "reason" to reason)
            exitProcess(0)
        }
    )
    refresher.start()
    while (true) {
        when (ask("next")) {
            "leave" -> refresher.leave()
            "expired" -> refresher.expired()
            "wake" -> refresher.wake()
            "none" -> {}
            else -> return
        }
    }
}
