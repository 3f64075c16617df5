//! Languages written in Latin letters.

use super::Profile;

/// In alphabetical order of their codes but for English, which wins a tie.
pub(super) const PROFILES: &[Profile] = &[
    Profile {
        code: "en",
        letters: "",
        words: "the of and to in is that it for was on are with as his they be at one have this from by but what some we can out other were all \
                your when up use word how said an each she which their time if will way about many then them would like so these her him has more two \
                make its over new only who my than been after into our even may there where most through much before also back between because \
                any such could should do does did don not no or you he me us i a here very just those every while being without own must might \
                never always still under again both few life people world day first now know see good great small work think get go come yes answer \
                let isn doesn didn wasn aren couldn wouldn shouldn hello thank thanks please write response name dear",
        affixes: "-ing -tion -ness -ment -ful -less -ight -ough -ould -ther -ly -ies -ally -ed th- wh- -est -ous -ity",
    },
    Profile {
        code: "af",
        letters: "êëéèîïôöûü",
        words: "die van en in is dat het te vir nie met op wat sy om ek hy word aan as ons jy hulle kan ook sal deur maar by so daar na tot uit ʼn nog baie \
                hierdie moet toe was wees soos of een mense sê my haar hoe waar se ou twee drie dae ná",
        affixes: "ge- -heid -ings",
    },
    Profile {
        code: "ca",
        letters: "àçéèíïóòúü",
        words: "de la el que i a en les els per un una amb no es del dels al se ha com més però són està aquest aquesta ser també molt tot han va hi ho \
                seva seu quan on perquè fer sense entre fins pot cada dia nosaltres què meva meu tots aquests amic gat",
        affixes: "-ció -itat -ment -ista",
    },
    Profile {
        code: "cs",
        letters: "áčďéěíňóřšťúůýž",
        words: "a v se na je to že s z do o i jako za by ale pro které který která jsem jsou jeho tak po bylo byl si při nebo také než co když jak už může \
                podle od k ve ze má mít být jen této tento tato proto není jsme ještě velmi více však kde své svůj který",
        affixes: "-ost -ní -ých -ého -ová",
    },
    Profile {
        code: "cy",
        letters: "âêîôûŵŷ",
        words: "y yr yn a i o ac ar mae wedi ei eu am gan bod gyda oedd hyn fel hefyd nid ond sydd yw un o'r wrth dros ni chi fy dy mewn roedd pob sy \
                cael gwneud hwn hon mwy iawn nhw dim byd gallu",
        affixes: "-aeth -edd dd- ll- -ydd",
    },
    Profile {
        code: "da",
        letters: "åæøé",
        words: "og i at det er en til på som for med den de af der ikke et har jeg om var men vi kan han så vil fra sig hun skal eller også blev være ud når \
                efter over hvor man nu under ved meget deres hvad dig mig noget alle denne dette bliver min havde sin kun uden mange andre selv",
        affixes: "-hed -erne -else -ende -lige",
    },
    Profile {
        code: "de",
        letters: "äöüß",
        words: "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass sie nach wird bei einer um \
                am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis mehr durch man sein wurde sei ich wir ihr mein dein unser \
                kann können sehr wenn dann hier diese dieser dieses was wo warum alle immer mich dir uns euch ohne gegen unter zwischen weil keine kein \
                habe bin bist ja nein gut viel etwas nichts leben welt",
        affixes: "-ung -heit -keit -lich -isch -chen -schaft ge- ver- sch- -ten -ungs",
    },
    Profile {
        code: "es",
        letters: "áéíñóúü",
        words: "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si sin sobre este ya entre cuando todo esta ser \
                son dos también fue había era muy años hasta desde está mi porque qué sólo han yo hay vez puede todos así nos ni parte tiene él uno donde \
                bien tiempo mismo ese ahora cada vida otro después te otros aunque esa eso hace otra gobierno tan durante siempre día tanto ella estos estas \
                mucho quien nosotros ellos usted hola hoy ayer mañana gracias mundo",
        affixes: "-amos -emos -imos -ción -dad -mente -ando -iendo -ado -idad -ños -ía",
    },
    Profile {
        code: "et",
        letters: "äõöüšž",
        words: "ja on ei et see oli kui ka ning ta mis aga oma või kes nii veel siis seda ma me te nad välja üle olla selle pole juba väga kõik mida siin \
                tema ainult kuid olid sest minu meie palju saab üks kaks pärast enne kus nagu mitte",
        affixes: "-sse -ga -lik -mine -st -nud -tud -vad",
    },
    Profile {
        code: "fi",
        letters: "äöå",
        words: "ja on ei että se hän oli joka mutta kun niin tai myös ovat kuin sen ole mukaan nyt voi sekä jos mitä jo vain minä sinä me te he tämä tämän \
                hyvin kanssa sitä vielä olla ollut jälkeen joka jotka kaikki mikä koska sitten olen olet minun sinun hänen meidän siitä siinä nämä \
                paljon aina ilman kuten mukana täällä missä miten ennen kautta kohti sillä noin asti tässä tästä ovatko eivät en et emme",
        affixes: "-ssa -ssä -sta -stä -lla -llä -lle -lta -nen -iin -tta -ttä -ista -uus -yys -aan -een -vat -vät -isen -mme -kin",
    },
    Profile {
        code: "fr",
        letters: "àâæçéèêëîïôœùûüÿ",
        words: "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont la avec ou son lui nous comme mais on tout aux vous \
                cette bien être fait elle deux même ces ses entre sans leur peut leurs je tu mon ma mes ton notre votre où très après avant aussi donc \
                car si quand quoi encore toujours jamais rien autre autres chaque monde vie temps été était sous vers chez depuis ils elles \
                l d c j n s qu y bonjour merci oui non",
        affixes: "-tion -ment -eux -euse -ette -elle -aient -eur -ique -ance -ence -age",
    },
    Profile {
        code: "hr",
        letters: "čćđšž",
        words: "i je u se na da za su od s a o koji kao ne što iz to bi sam ali će do te koja nije bio ili već biti samo po smo njegova kako kada sve ima mi \
                on ona oni moj tvoj gdje zašto vrlo više može ovaj ova ovo tako jer bez prema između nakon još uvijek svi",
        affixes: "-nost -anje -enje -ovi -ima -skog",
    },
    Profile {
        code: "hu",
        letters: "áéíóöőúüű",
        words: "a az és hogy nem is egy ez meg de csak van volt már mint még ki mert kell ha el sem azt ezt vagy én te ő mi ti ők minden nagyon lehet \
                pedig majd után aki ami ahol olyan amely lesz itt ott így úgy között által sok más jó kérem igen tudom lett volna szerint",
        affixes: "-ság -ség -ban -ben -nak -nek -val -vel -ból -ből -hoz -hez -tól -ról -kat -ket meg-",
    },
    Profile {
        code: "id",
        letters: "",
        words: "yang dan di dari untuk dengan pada ini itu dalam adalah tidak akan oleh sebagai juga ke karena ada atau bisa kami kita saya anda mereka dia \
                lebih sudah telah seperti dapat orang tahun satu saat hanya secara banyak menjadi tersebut namun bahwa bagi setiap sangat kamu aku \
                apa siapa mengapa bagaimana semua jika ketika masih belum harus hari dunia hidup tentang antara",
        affixes: "me- ber- di- -kan -nya ter- peng- meng- -lah men- mem- per-",
    },
    Profile {
        code: "it",
        letters: "àèéìîòóù",
        words: "di e il la che in a un per è del della non una si con i le da come sono dei al lo più anche nel alla gli ma se su nella delle questo questa ha dal \
                ed o ci dalla essere stato loro suo sua tra cui quando molto tutto tutti mi ti io tu noi voi mio tuo nostro dove perché cosa poi già solo \
                ogni ancora dopo prima senza sempre fatto fare può anni era hanno sia quello così bene vita mondo tempo c l d dell nell all un'",
        affixes: "-zione -mente -ità -ente -ando -endo -ato -ata -iamo -ezza -etto -ella",
    },
    Profile {
        code: "lt",
        letters: "ąčęėįšųūž",
        words: "ir yra į kad su iš tai kaip o bet ne buvo jis už dėl ar jo ji apie nuo prie tik savo dar jau kai labai per po gali iki jos kurie aš mes jūs jie \
                kuris kuri visi šis ši taip nes būti daug todėl",
        affixes: "-ais -ose -iai -imas -ymas -mas -ius -uose -tis -ija",
    },
    Profile {
        code: "lv",
        letters: "āčēģīķļņšūž",
        words: "un ir no ar ka uz par kas kā bet tas arī vai pēc to tā pie nav lai bija līdz ja tikai savu viņš viņa mēs jūs es viņi šis šī ļoti gan var \
                būt kad kur jau vēl vairāk visi tiek",
        affixes: "-šana -iem -ām -ība -ums -jums -ās -nieks",
    },
    Profile {
        code: "nl",
        letters: "ëïéèöü",
        words: "de het een en van in is dat op te zijn met voor niet aan er die ook als bij door om maar naar hij uit ze dan nog wel was worden wordt kan \
                heeft over tot of geen deze meer ik je jij wij zij ons onze mijn uw wat wie waar hoe zou kunnen moet hun veel dit zo na heel altijd hebben \
                heb ben bent omdat tussen zonder tegen onder iets niets alle leven wereld goed jullie elke andere",
        affixes: "-heid -lijk -ing ge- -tje -eren -atie ver- -ijk -ijn aan- -sch",
    },
    Profile {
        code: "no",
        letters: "åæøéò",
        words: "og i det er på som en til for at med de av den ikke et har jeg om var men vi kan han så vil fra seg hun skal eller også ble være ut når etter over \
                hvor nå under ved mange noe deres hva deg meg alle denne dette blir min hadde sin bare uten andre selv mye bør opp noen oss vært",
        affixes: "-het -ene -else -ende -lig -sjon",
    },
    Profile {
        code: "pl",
        letters: "ąćęłńóśźż",
        words: "w i z na się nie do to że jest o jak a po co tak za od dla już był przez ale czy ze są może tylko tym było jego być które który która ma go jej \
                ich mnie mi jestem ja ty on ona my wy oni bardzo kiedy gdy też oraz więc jeszcze nas wszystko wszystkie dlaczego gdzie pod przed nad bez \
                ponieważ swoje jednak jako także nich tego tej lub aby życie świat człowiek tutaj",
        affixes: "-ość -ości -ych -ego -emu -nie -cie -ów -ami -ach prze- przy- -ować -ski -ają",
    },
    Profile {
        code: "pt",
        letters: "áâãàçéêíóôõúü",
        words: "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou ser quando muito há nos já está \
                eu também só pelo pela até isso ela entre era depois sem mesmo aos ter seus quem nas me esse eles você essa num nem suas meu minha numa \
                são estão onde bem assim tudo todos cada vida mundo tempo nós nosso nossa sobre fazer pode porque aqui olá obrigado sim este esta",
        affixes: "-ção -ções -dade -mente -ando -endo -inho -inha -ões -ário -ência",
    },
    Profile {
        code: "ro",
        letters: "ăâîșțşţ",
        words: "de și în a la cu pe nu o că care din un este mai pentru sunt au ce se ca prin al lui fi dar sau dacă fost are după am lor foarte era ei ea el noi \
                voi ale despre până când unde toate cum fiecare fără sa său mea meu tot acest această acesta doar între poate viață lume să îl îi iar",
        affixes: "-ului -ilor -are -ește -ător -ție -elor -ării -esc",
    },
    Profile {
        code: "sk",
        letters: "áäčďéíĺľňóôŕšťúýž",
        words: "a v sa na je to že s z do o i ako za by ale pre ktoré ktorý ktorá som sú jeho tak po bolo bol si pri alebo aj než čo keď už môže podľa od k vo zo má \
                mať byť len táto tento toto preto nie sme ešte veľmi viac však kde svoj svoje",
        affixes: "-osť -nie -ých -ého -ová -ov",
    },
    Profile {
        code: "sl",
        letters: "čšž",
        words: "in je v se na da za so pa ki z kot ne s po ni tudi bi bil ali iz ko od še če jih biti lahko le bo samo kar jaz ti on ona mi vi oni moj zelo več kako \
                kje zakaj ta to te kaj kdo med pred brez ker sem smo sta ima tako",
        affixes: "-nost -anje -enje -ega -ovi -ski -ala",
    },
    Profile {
        code: "so",
        letters: "",
        words: "oo iyo ka ku waa u ee in la ay ah waxa waxaa soo ayaa aan si uu isaga iyada aad inuu inay dadka kale wax badan lagu waxay waxaan magaalada \
                sida hadii markii laga dhan mid kala ugu laakiin dal dhaqaale",
        affixes: "-aha -ada -eed -kii -tii dh- -ooyin xa-",
    },
    Profile {
        code: "sq",
        letters: "çë",
        words: "të e në dhe i për një me nga që është se si ka nuk më ai kjo ky do ishte por edhe janë u kanë duke pas tij saj shumë apo ose pa unë ti ne ju ata \
                kur ku çdo gjithë mund vetëm",
        affixes: "-ave -isht -imi -ët -ë -shme",
    },
    Profile {
        code: "sv",
        letters: "åäöé",
        words: "och i att det som en på är av för med till den har de inte om ett han men var jag sig från vi så kan när år hon under också efter eller nu sin där \
                vid mot ska skulle kommer ut får finns vara hade alla andra mycket än här då sedan över bara blir upp även vad dig mig oss min din \
                något några denna detta mellan utan hur varför mer kunna måste själv",
        affixes: "-het -arna -erna -orna -else -ande -lig -skap -ning -tion",
    },
    Profile {
        code: "sw",
        letters: "",
        words: "na ya wa kwa ni katika la za kuwa cha hii huo kama watu hiyo ambayo pia ile yake wake au hivyo lakini si moja sana tu mimi wewe yeye sisi ninyi wao \
                hapa huko kila baada kabla wakati mtu siku nchi dunia maisha yangu yako yetu yao wangu wako wetu ambao hili huu hao hizo haya kutoka \
                hadi bila kuhusu kwamba nini nani wapi lini jinsi kubwa ndogo mpya nzuri asante ndiyo hapana alikuwa ilikuwa walikuwa ana tuna \
                vya mwa pamoja zaidi yote wote kufanya kusema habari jambo rafiki kazi ndio basi",
        affixes: "ku- wa- ki- ali- ana- wana- nina- tuna- ili- ina- wali- mwa- vi- uta- ata- -isha -eza -ika -ana kuto- ma- -enye mwe-",
    },
    Profile {
        code: "tl",
        letters: "ñ",
        words: "ang ng sa na mga ay at si ko mo ka niya siya sila kami tayo ako ikaw ito iyon para hindi may mayroon kung ni nila namin natin kanyang dahil pero \
                lamang din rin naman isang isa pa po ba kay noong upang bilang ilang lahat dito doon kanilang aking iyong ating wala araw buhay mundo",
        affixes: "nag- mag- pag- -ang -ing ka- pina- naka- maka- -han -hin",
    },
    Profile {
        code: "tr",
        letters: "çğıöşüâî",
        words: "ve bir bu da de için ile çok ne olarak daha olan gibi en o ki var sonra kadar ben sen biz siz onlar her ama ya hem değil mi mı olduğu oldu \
                olur tarafından göre ise ancak kendi iki ilk büyük yeni zaman yok şey nasıl neden nerede bütün hiç veya şu çünkü iyi dünya hayat",
        affixes: "-lar -ler -dır -dir -lık -lik -mak -mek -nda -nde -dan -den -ını -ini -yor -ması -mesi -ları -leri",
    },
    Profile {
        code: "vi",
        letters: "ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ",
        words: "và của là có không được trong cho các một những người với này đã để khi từ đến về như tôi bạn chúng ta họ anh em ông bà rất nhiều cũng nhưng vì \
                nếu thì ở ra vào lại còn mà theo trên sau trước đó đây sẽ phải năm ngày đi làm nước việt nam thể nào gì tại con cái hơn hay bị việc",
        affixes: "ng- nh- kh- th- tr- ph- -nh",
    },
];
